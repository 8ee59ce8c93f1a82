{{/* The pod of every kind: the product's containers, and the sidecar by the library's templates. */}}

{{- define "marketplace-product.pod" -}}
metadata:
  labels:
    {{- $labels := printf "%s\n%s" (include "marketplace-product.selector" .) (include "marketplace-sidecar.podLabels" .) }}
    {{- include "marketplace-sidecar.joined" (dict "own" $labels "further" .Values.podLabels) | trim | nindent 4 }}
  annotations:
    {{- $annotations := include "marketplace-sidecar.podAnnotations" . }}
    {{- include "marketplace-sidecar.joined" (dict "own" $annotations "further" .Values.podAnnotations) | trim | nindent 4 }}
spec:
  {{- include "marketplace-sidecar.pod" . | nindent 2 }}
  {{- if eq .Values.kind "Job" }}
  restartPolicy: {{ (.Values.job).restartPolicy | default "Never" }}
  {{- end }}
  {{- range $key := list "imagePullSecrets" "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" }}
  {{- with get $.Values $key }}
  {{ $key }}:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ quote . }}
  {{- end }}
  {{- $first := include "marketplace-sidecar.initContainers" . }}
  {{- if or $first .Values.initContainers }}
  initContainers:
    {{- with $first }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- range .Values.initContainers }}
    {{- include "marketplace-product.container" (dict "context" $ "container" . "main" false) | nindent 4 }}
    {{- end }}
  {{- end }}
  containers:
    {{- range .Values.containers }}
    {{- include "marketplace-product.container" (dict "context" $ "container" . "main" true) | nindent 4 }}
    {{- end }}
    {{- with include "marketplace-sidecar.containers" . }}
    {{- . | nindent 4 }}
    {{- end }}
  volumes:
    {{- include "marketplace-sidecar.volumes" . | trim | nindent 4 }}
    {{- with .Values.volumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{/* Takes {context, container, main}. A Job has no readiness probe: it receives no traffic. */}}
{{- define "marketplace-product.container" -}}
{{- $values := .context.Values -}}
- name: {{ .container.name | quote }}
  image: {{ include "marketplace-sidecar.image" (dict "context" .context "image" .container.image) | quote }}
  {{- with omit .container "name" "image" "env" "readinessProbe" "securityContext" }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  env:
    {{- include "marketplace-sidecar.productEnv" .context | nindent 4 }}
    {{- with .container.env }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- if .container.readinessProbe }}
  readinessProbe:
    {{- toYaml .container.readinessProbe | nindent 4 }}
  {{- else if and .main (ne $values.kind "Job") }}
  readinessProbe:
    {{- include "marketplace-sidecar.readinessProbe" .context | nindent 4 }}
  {{- end }}
  {{- with .container.securityContext | default $values.securityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
