{{- define "marketplace-product.check" -}}
{{- $values := .Values -}}
{{- $replicas := 1 -}}
{{- if has $values.kind (list "Deployment" "StatefulSet") -}}{{- $replicas = $values.replicas -}}{{- end -}}
{{- if eq $values.kind "Job" -}}{{- $replicas = ($values.job).parallelism | default 1 -}}{{- end -}}
{{- $strategy := $values.strategy | default dict -}}
{{- $rolling := kindIs "map" $strategy.rollingUpdate | ternary $strategy.rollingUpdate dict -}}
{{- /* Init containers end, so their resources are nobody's for the pod's life. */ -}}
{{- $workload := dict "context" . "kind" $values.kind "replicas" $replicas "strategy" ($strategy.type | default "RollingUpdate") "containers" ($values.containers | default list) "problems" (include "marketplace-product.problems" .) -}}
{{- if not (kindIs "invalid" $rolling.maxSurge) -}}{{- $_ := set $workload "surge" $rolling.maxSurge -}}{{- end -}}
{{- include "marketplace-sidecar.checkWorkload" $workload -}}
{{- end }}

{{- define "marketplace-product.problems" -}}
{{- $config := include "marketplace-sidecar.config" . | fromJson -}}
{{- if not .Values.containers }}
containers: is empty; name the product's containers
{{- end }}
{{- $names := list "marketplace-sidecar" -}}
{{- range concat (.Values.containers | default list) (.Values.initContainers | default list) }}
{{- if has .name $names }}
containers: {{ .name }} is taken, {{ eq .name "marketplace-sidecar" | ternary "by the sidecar" "twice" }}; give the container another name
{{- end }}
{{- $names = append $names .name }}
{{- $name := .name }}
{{- range .ports }}
{{- if or (eq (int .containerPort) (int (($config).api).port)) (eq (int .containerPort) (int (($config).probes).port)) }}
containers: {{ $name }} listens on {{ .containerPort }}, which is the sidecar's; change it, or sidecar.config.api.port or probes.port
{{- end }}
{{- end }}
{{- end }}
{{- $labels := include "marketplace-product.selector" . | fromYaml | merge (include "marketplace-sidecar.podLabels" . | fromYaml) }}
{{- range $key, $value := .Values.podLabels }}
{{- if and (hasKey $labels $key) (ne (toString $value) (get $labels $key | toString)) (not (and (eq $.Values.kind "Job") (hasPrefix "app.kubernetes.io/" $key))) }}
podLabels: {{ $key }} is the chart's own, and other objects depend on it; remove it
{{- end }}
{{- end }}
{{- if hasKey (.Values.podAnnotations | default dict) "marketplace-sidecar/config" }}
podAnnotations: marketplace-sidecar/config is the chart's own, and restarts the pods with a new configuration; remove it
{{- end }}
{{- $service := .Values.service | default dict }}
{{- include "marketplace-sidecar.problems.name" (dict "name" (include "marketplace-product.name" .) "kind" .Values.kind "service" $service.enabled "key" "fullnameOverride") }}
{{- if and $service.enabled (eq .Values.kind "Job") }}
service.enabled: a Job has no Service; set it to false
{{- end }}
{{- if and $service.enabled (not $service.ports) }}
service.ports: is empty, and service.enabled is true; name a port
{{- end }}
{{- if and .Values.volumeClaimTemplates (ne .Values.kind "StatefulSet") }}
volumeClaimTemplates: need a StatefulSet, and this is a {{ .Values.kind }}; use kind StatefulSet, or volumes
{{- end }}
{{- range .Values.volumes }}
{{- include "marketplace-sidecar.problems.volume" (dict "key" "volumes" "name" .name) }}
{{- end }}
{{- range .Values.volumeClaimTemplates }}
{{- include "marketplace-sidecar.problems.volume" (dict "key" "volumeClaimTemplates" "name" (.metadata).name) }}
{{- end }}
{{- if and .Values.strategy (eq .Values.kind "Job") }}
strategy: a Job is not updated; remove it
{{- end }}
{{- end }}
