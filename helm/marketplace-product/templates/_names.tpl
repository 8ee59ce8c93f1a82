{{- define "marketplace-product.name" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "marketplace-product.selector" -}}
app.kubernetes.io/name: {{ include "marketplace-product.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "marketplace-product.metadata" -}}
name: {{ include "marketplace-product.name" . }}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "marketplace-product.selector" . | nindent 2 }}
{{- end }}
