{{/*
The sidecar's container, in one of two lists of the pod: initContainers (native) or containers (plain). The template of
the list that it is not in renders nothing.
*/}}

{{- define "marketplace-sidecar.initContainers" -}}
{{- include "marketplace-sidecar.check" . -}}
{{- if eq .Values.sidecar.mode "native" -}}
{{- include "marketplace-sidecar.container" . -}}
{{- end -}}
{{- end }}

{{- define "marketplace-sidecar.containers" -}}
{{- include "marketplace-sidecar.check" . -}}
{{- if eq .Values.sidecar.mode "plain" -}}
{{- include "marketplace-sidecar.container" . -}}
{{- end -}}
{{- end }}

{{- define "marketplace-sidecar.container" -}}
{{- $sidecar := .Values.sidecar -}}
- name: marketplace-sidecar
  image: {{ include "marketplace-sidecar.image" (dict "context" . "image" $sidecar.image) | quote }}
  imagePullPolicy: {{ $sidecar.image.pullPolicy }}
  {{- if eq $sidecar.mode "native" }}
  restartPolicy: Always
  {{- end }}
  ports:
    - name: probes
      containerPort: {{ (include "marketplace-sidecar.config" . | fromJson).probes.port }}
      protocol: TCP
  env:
    {{- include "marketplace-sidecar.env" . | trim | nindent 4 }}
  {{- if eq $sidecar.mode "native" }}
  # Holds the product's containers back. It reads memory, so it may ask every second; after six refused hours a fresh
  # process tries, in case this one is stuck.
  startupProbe:
    httpGet:
      path: /startupz
      port: probes
    periodSeconds: 1
    timeoutSeconds: 2
    failureThreshold: 21600
  {{- end }}
  readinessProbe:
    httpGet:
      path: /readyz
      port: probes
    periodSeconds: 5
    timeoutSeconds: 2
    failureThreshold: 2
  # A minute of silence: a busy node is no reason to restart.
  livenessProbe:
    httpGet:
      path: /livez
      port: probes
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 6
  {{- with $sidecar.resources }}
  resources:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $sidecar.securityContext }}
  securityContext:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  volumeMounts:
    {{- include "marketplace-sidecar.volumeMounts" . | trim | nindent 4 }}
{{- end }}

{{- define "marketplace-sidecar.env" -}}
{{- $sidecar := .Values.sidecar }}
{{- range $name, $path := dict "POD_NAME" "metadata.name" "POD_NAMESPACE" "metadata.namespace" "POD_UID" "metadata.uid" }}
- name: {{ $name }}
  valueFrom:
    fieldRef:
      fieldPath: {{ $path }}
{{- end }}
# CloudTrail then shows which pod made each call; `ledger reconcile` reads it.
- name: AWS_ROLE_SESSION_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.uid
{{- if eq $sidecar.serviceAccount.webIdentity "chart" }}
- name: AWS_ROLE_ARN
  value: {{ include "marketplace-sidecar.literal" $sidecar.serviceAccount.roleArn | quote }}
- name: AWS_WEB_IDENTITY_TOKEN_FILE
  value: /var/run/secrets/marketplace-web-identity/token
{{- else if and (eq (include "marketplace-sidecar.config" . | fromJson).marketplace.mode "emulator") (not $sidecar.serviceAccount.roleArn) }}
# The emulator takes any secret, and the access key for the pod's identity.
- name: AWS_ACCESS_KEY_ID
  valueFrom:
    fieldRef:
      fieldPath: metadata.uid
- name: AWS_SECRET_ACCESS_KEY
  value: emulator
{{- end }}
{{- with $sidecar.proxy }}
{{- if or .http .https }}
{{- with .http }}
- name: HTTP_PROXY
  value: {{ include "marketplace-sidecar.literal" . | quote }}
{{- end }}
{{- with .https }}
- name: HTTPS_PROXY
  value: {{ include "marketplace-sidecar.literal" . | quote }}
{{- end }}
- name: NO_PROXY
  value: {{ list "127.0.0.1,localhost,::1,169.254.0.0/16,.svc,.cluster.local,$(KUBERNETES_SERVICE_HOST)" (include "marketplace-sidecar.literal" .exclude) | compact | join "," | quote }}
{{- end }}
{{- end }}
{{- if ($sidecar.caBundle).configMap }}
- name: AWS_CA_BUNDLE
  value: {{ printf "/etc/marketplace-sidecar-ca/%s" (include "marketplace-sidecar.literal" (.Values.sidecar.caBundle.key | default "ca.crt")) | quote }}
{{- end }}
{{- include "marketplace-sidecar.configEnv" . }}
{{- with $sidecar.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* A text for a variable's value, where Kubernetes takes $(NAME) for another variable and $$ for $. */}}
{{- define "marketplace-sidecar.literal" -}}
{{- kindIs "invalid" . | ternary "" . | toString | replace "$" "$$" -}}
{{- end }}

{{/* For the product's containers: where the local API is. */}}
{{- define "marketplace-sidecar.productEnv" -}}
{{- include "marketplace-sidecar.check" . -}}
{{- with (include "marketplace-sidecar.config" . | fromJson).api -}}
- name: MARKETPLACE_SIDECAR_URL
  value: http://{{ eq .host "::1" | ternary "[::1]" .host }}:{{ .port }}
{{- end }}
{{- end }}

{{/*
For the product's main container. The port is a number: a name is looked up among the container's own ports only.
*/}}
{{- define "marketplace-sidecar.readinessProbe" -}}
{{- include "marketplace-sidecar.check" . -}}
httpGet:
  path: /readyz
  port: {{ (include "marketplace-sidecar.config" . | fromJson).probes.port }}
periodSeconds: 5
timeoutSeconds: 2
failureThreshold: 2
{{- end }}
