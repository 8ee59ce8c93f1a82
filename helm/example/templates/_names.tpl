{{- define "example.name" -}}
{{- .Values.fullnameOverride | default .Release.Name -}}
{{- end }}
