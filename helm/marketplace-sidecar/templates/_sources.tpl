{{/*
Dimensions that the sidecar measures by a container's resources: the downward API's files for it, and what the pod must
have for them. Without the limit or request Kubernetes would write what the whole node has.
*/}}

{{/* The files, as {files: [{what, by, container}]}: of the configuration, or of the values if the image has it. */}}
{{- define "marketplace-sidecar.resources" -}}
{{- $found := list -}}
{{- range ((include "marketplace-sidecar.config" . | fromYaml).metering).dimensions -}}
{{- with (.source).resource -}}
{{- $found = append $found . -}}
{{- end -}}
{{- end -}}
{{- if .Values.sidecar.productFromImage -}}
{{- $found = .Values.sidecar.resourceFiles | default list -}}
{{- end -}}
{{- $files := list -}}
{{- range $found -}}
{{- $files = append $files (dict "what" .what "by" (.by | default "limit") "container" .container) -}}
{{- end -}}
{{- dict "files" (uniq $files) | toYaml -}}
{{- end }}

{{/* The items of the downward API's volume; takes {files, folder}. */}}
{{- define "marketplace-sidecar.resourceItems" -}}
{{- $folder := .folder -}}
{{- range .files }}
- path: {{ printf "%s%s.%ss.%s" $folder .container .by .what }}
  resourceFieldRef:
    containerName: {{ .container | quote }}
    resource: {{ .by }}s.{{ .what }}
    divisor: {{ eq .what "cpu" | ternary "1m" "1" | quote }}
{{- end }}
{{- end }}

{{- define "marketplace-sidecar.problems.sources" -}}
{{- $sidecar := .Values.sidecar -}}
{{- range (include "marketplace-sidecar.config" . | fromYaml).metering.dimensions }}
{{- if .source }}
{{- if ne (.aggregation | default "sum") "sum" }}
sidecar.config.metering.dimensions: gives {{ .name }} the aggregation {{ .aggregation }}, and the sidecar adds up what it measures; remove aggregation
{{- end }}
{{- $others := keys (omit .source "pod_time" "resource" "prometheus" "otlp") | sortAlpha }}
{{- if $others }}
sidecar.config.metering.dimensions: measures {{ .name }} by {{ join ", " $others }}, and this version measures pod_time, resource, prometheus and otlp only; report this usage with POST /v1/usage, without a source
{{- end }}
{{- end }}
{{- end }}
{{- if and $sidecar.resourceFiles (not $sidecar.productFromImage) }}
sidecar.resourceFiles: is for an image with its own configuration; remove it, and the chart takes the sources of metering.dimensions
{{- end }}
{{- end }}

{{/* Takes what checkWorkload takes; `containers` are those of the pod, as Kubernetes writes them. */}}
{{- define "marketplace-sidecar.problems.resources" -}}
{{- $files := (include "marketplace-sidecar.resources" .context | fromYaml).files -}}
{{- $key := .context.Values.sidecar.productFromImage | ternary "sidecar.resourceFiles" "sidecar.config.metering.dimensions" -}}
{{- if and $files (not (hasKey . "containers")) }}
{{ $key }}: measures the resources of containers, and this chart does not name them; pass "containers" to marketplace-sidecar.checkWorkload
{{- else }}
{{- $containers := .containers }}
{{- range $file := $files }}
{{- $container := dict }}
{{- range $containers }}{{- if eq .name $file.container }}{{- $container = . }}{{- end }}{{- end }}
{{- $resources := $container.resources | default dict }}
{{- $limits := $resources.limits | default dict }}
{{- $requests := $resources.requests | default dict }}
{{- $limit := kindIs "invalid" (get $limits $file.what) | ternary "" (get $limits $file.what) | toString }}
{{- $unasked := or (not (hasKey $requests $file.what)) (kindIs "invalid" (get $requests $file.what)) }}
{{- $request := $unasked | ternary $limit (get $requests $file.what) | toString }}
{{- $amount := eq $file.by "limit" | ternary $limit $request }}
{{- if not $container }}
{{ $key }}: measures the container {{ $file.container }}, which the pod does not have; name one of its containers
{{- else if regexMatch "^[+-]?0*[.]?0*([eE][+-]?[0-9]+|[a-zA-Z]+)?$" $amount }}
{{ $key }}: measures the {{ $file.what }} {{ $file.by }} of container {{ $file.container }}, which has none, and Kubernetes would show the node's; set resources.{{ $file.by }}s.{{ $file.what }} of the container
{{- end }}
{{- end }}
{{- end }}
{{- end }}
