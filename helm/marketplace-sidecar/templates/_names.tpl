{{/*
Names and labels. Every template here takes the root context of the chart that depends on this one, and reads
`.Values.sidecar`. The label is what the NetworkPolicy, the PodMonitor and a person select the pods by.
*/}}

{{- define "marketplace-sidecar.name" -}}
{{- printf "%s-marketplace" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "marketplace-sidecar.podLabels" -}}
marketplace-sidecar/release: {{ .Release.Name | quote }}
{{- end }}

{{/* The checksum restarts the pods when the configuration changes, and only then: a restart closes a metering hour. */}}
{{- define "marketplace-sidecar.podAnnotations" -}}
{{- include "marketplace-sidecar.check" . -}}
marketplace-sidecar/config: {{ include "marketplace-sidecar.configData" . | sha256sum | trunc 16 | quote }}
{{- with .Values.sidecar.ledger }}
{{- if and (eq .volume "emptyDir") (.emptyDir).safeToEvict }}
cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes: marketplace-ledger
{{- end }}
{{- end }}
{{- end }}

{{- define "marketplace-sidecar.serviceAccountName" -}}
{{- .Values.sidecar.serviceAccount.name | default (include "marketplace-sidecar.name" .) -}}
{{- end }}

{{/* Takes {context, image}: the one registry, the repository, and the digest or else the tag. */}}
{{- define "marketplace-sidecar.image" -}}
{{- $registry := dig "registry" "" (.context.Values.global | default dict) -}}
{{- with $registry }}{{ . }}/{{ end -}}
{{- .image.repository -}}
{{- if .image.digest }}@{{ .image.digest }}{{ else if .image.tag }}:{{ .image.tag }}{{ end -}}
{{- end }}
