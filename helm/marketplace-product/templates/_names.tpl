{{- define "marketplace-product.name" -}}
{{- .Values.fullnameOverride | default (include "marketplace-sidecar.instance" .) | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{- define "marketplace-product.selector" -}}
app.kubernetes.io/name: {{ include "marketplace-product.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "marketplace-product.metadata" -}}
name: {{ include "marketplace-product.name" . | quote }}
namespace: {{ .Release.Namespace | quote }}
labels:
  {{- include "marketplace-product.selector" . | nindent 2 }}
{{- end }}
