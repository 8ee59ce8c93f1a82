{{/*
The objects besides the pod, each under its own name and all together: a chart needs one file with
{{ include "marketplace-sidecar.objects" . }}.
*/}}

{{- define "marketplace-sidecar.objects" -}}
{{- include "marketplace-sidecar.check" . -}}
{{- range $name := list "configMap" "serviceAccount" "role" "networkPolicy" "podMonitor" "prometheusRule" "dashboard" }}
{{- with include (printf "marketplace-sidecar.%s" $name) $ | trim }}
---
{{ . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "marketplace-sidecar.metadata" -}}
name: {{ include "marketplace-sidecar.name" . | quote }}
namespace: {{ .Release.Namespace | quote }}
labels:
  {{- include "marketplace-sidecar.labels" (dict "context" .) | nindent 2 }}
{{- end }}

{{/* Takes {context, further}: further labels, or nothing. */}}
{{- define "marketplace-sidecar.labels" -}}
{{- $own := dict "app.kubernetes.io/name" "marketplace-sidecar" "app.kubernetes.io/instance" .context.Release.Name -}}
{{- include "marketplace-sidecar.joined" (dict "own" (toYaml $own) "further" .further) | trim -}}
{{- end }}

{{- define "marketplace-sidecar.configMap" -}}
{{- with include "marketplace-sidecar.configData" . }}
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "marketplace-sidecar.metadata" $ | nindent 2 }}
data:
  {{- . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "marketplace-sidecar.serviceAccount" -}}
{{- $account := .Values.sidecar.serviceAccount -}}
{{- if $account.create }}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "marketplace-sidecar.serviceAccountName" . | quote }}
  namespace: {{ .Release.Namespace | quote }}
  labels:
    {{- include "marketplace-sidecar.labels" (dict "context" .) | nindent 4 }}
  {{- with include "marketplace-sidecar.serviceAccountAnnotations" . | trim }}
  annotations:
    {{- . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end }}
{{- end }}

{{/* For charts that make the service account themselves. */}}
{{- define "marketplace-sidecar.serviceAccountAnnotations" -}}
{{- with .Values.sidecar.serviceAccount -}}
{{- if .roleArn }}
eks.amazonaws.com/role-arn: {{ .roleArn }}
{{- end }}
{{- with .annotations }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- end }}

{{/* Only the verbs that are in use. A pod's name is not known in advance, so the Role holds for its namespace. */}}
{{- define "marketplace-sidecar.role" -}}
{{- $kubernetes := include "marketplace-sidecar.kubernetes" . | fromYaml -}}
{{- if and (.Values.sidecar.rbac).create $kubernetes.enabled }}
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  {{- include "marketplace-sidecar.metadata" . | nindent 2 }}
rules:
  # Is this pod ending, or was the container restarted? Does the pod that had the ledger last still run?
  - apiGroups: [""]
    resources: [pods]
    verbs: [get]
  {{- if $kubernetes.readiness_gate }}
  # The readiness gate.
  - apiGroups: [""]
    resources: [pods/status]
    verbs: [patch]
  {{- end }}
  {{- if $kubernetes.events }}
  - apiGroups: [""]
    resources: [events]
    verbs: [create]
  {{- end }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  {{- include "marketplace-sidecar.metadata" . | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ include "marketplace-sidecar.name" . | quote }}
subjects:
  - kind: ServiceAccount
    name: {{ include "marketplace-sidecar.serviceAccountName" . | quote }}
    namespace: {{ .Release.Namespace | quote }}
{{- end }}
{{- end }}

{{- define "marketplace-sidecar.networkPolicy" -}}
{{- with .Values.sidecar.networkPolicy }}
{{- if .enabled }}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "marketplace-sidecar.metadata" $ | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "marketplace-sidecar.podLabels" $ | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress:
    - ports:
        - port: {{ (include "marketplace-sidecar.config" $ | fromJson).probes.port }}
          protocol: TCP
      {{- with .metricsFrom }}
      from:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    {{- with .productPorts }}
    - ports:
        {{- toYaml . | nindent 8 }}
    {{- end }}
  egress:
    - ports:
        - port: 53
          protocol: UDP
        - port: 53
          protocol: TCP
    # AWS and the cluster's API server have no addresses that a policy could name.
    - ports:
        - port: 443
          protocol: TCP
    {{- with include "marketplace-sidecar.proxyPorts" $ | trim }}
    # The proxy.
    - ports:
        {{- . | nindent 8 }}
    {{- end }}
    {{- if not $.Values.sidecar.serviceAccount.roleArn }}
    # The agent of EKS Pod Identity, which gives credentials where there is no role of IRSA.
    - to:
        - ipBlock:
            cidr: 169.254.170.23/32
        - ipBlock:
            cidr: fd00:ec2::23/128
      ports:
        - port: 80
          protocol: TCP
    {{- end }}
    {{- with .egress }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The ports of the proxies besides 443. Without a port in its URL a proxy listens on the one of its scheme. */}}
{{- define "marketplace-sidecar.proxyPorts" -}}
{{- $ports := list -}}
{{- range $name := list "http" "https" -}}
{{- with get ($.Values.sidecar.proxy | default dict) $name -}}
{{- $authority := regexReplaceAll "^([A-Za-z]+://)?([^/]*@)?" . "" | splitList "/" | first -}}
{{- $standard := hasPrefix "https://" (lower .) | ternary "443" "80" -}}
{{- $ports = append $ports (regexFind ":[0-9]+$" $authority | trimPrefix ":" | default $standard | int) -}}
{{- end -}}
{{- end -}}
{{- range without $ports 443 | uniq }}
- port: {{ . }}
  protocol: TCP
{{- end }}
{{- end }}

{{- define "marketplace-sidecar.podMonitor" -}}
{{- with .Values.sidecar.podMonitor }}
{{- if .enabled }}
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  name: {{ include "marketplace-sidecar.name" $ | quote }}
  namespace: {{ $.Release.Namespace | quote }}
  labels:
    {{- include "marketplace-sidecar.labels" (dict "context" $ "further" .labels) | nindent 4 }}
spec:
  selector:
    matchLabels:
      {{- include "marketplace-sidecar.podLabels" $ | nindent 6 }}
  podMetricsEndpoints:
    - port: probes
      path: /metrics
      interval: {{ .interval }}
{{- end }}
{{- end }}
{{- end }}

{{/*
The alert rules and the dashboard are files of this chart, which only it can read: a chart that depends on it reaches
them through its alias. They are written out as they are, for the braces in them are Prometheus's and Grafana's.
*/}}
{{- define "marketplace-sidecar.prometheusRule" -}}
{{- with (.Values.sidecar.monitoring).prometheusRule }}
{{- if .enabled }}
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: {{ include "marketplace-sidecar.name" $ | quote }}
  namespace: {{ $.Release.Namespace | quote }}
  labels:
    {{- include "marketplace-sidecar.labels" (dict "context" $ "further" .labels) | nindent 4 }}
spec:
  {{- $.Subcharts.sidecar.Files.Get "files/alerts.yaml" | trim | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{- define "marketplace-sidecar.dashboard" -}}
{{- with (.Values.sidecar.monitoring).dashboard }}
{{- if .enabled }}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ printf "%s-dashboard" (include "marketplace-sidecar.name" $ | trunc 53 | trimSuffix "-") | quote }}
  namespace: {{ $.Release.Namespace | quote }}
  labels:
    {{- include "marketplace-sidecar.labels" (dict "context" $ "further" .labels) | nindent 4 }}
  {{- with .annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
data:
  marketplace-sidecar.json: |
    {{- $.Subcharts.sidecar.Files.Get "files/dashboard.json" | trim | nindent 4 }}
{{- end }}
{{- end }}
{{- end }}

{{/* The next three commands, for NOTES.txt. Takes {context, resource}, such as deployment/shop. */}}
{{- define "marketplace-sidecar.notes" -}}
{{- $context := .context -}}
{{- $kubectl := printf "kubectl --namespace %s" $context.Release.Namespace -}}
{{- $selector := printf "marketplace-sidecar/release=%s" (include "marketplace-sidecar.instance" $context) -}}
1. Watch the pods come up. They wait for AWS's word that you are subscribed:

   {{ $kubectl }} get pods --selector {{ $selector }} --watch

2. Read why, if they keep waiting:

   {{ $kubectl }} logs --selector {{ $selector }} --container marketplace-sidecar --tail 20

3. Ask a running pod whether it is ready:

   {{ $kubectl }} exec {{ .resource }} --container marketplace-sidecar -- marketplace-sidecar healthcheck --probe readyz
{{- end }}
