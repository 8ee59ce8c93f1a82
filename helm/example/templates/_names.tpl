{{- define "example.name" -}}
{{- .Values.fullnameOverride | default (include "marketplace-sidecar.instance" .) -}}
{{- end }}
