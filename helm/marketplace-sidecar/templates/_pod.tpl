{{/*
What the sidecar needs of the pod: identity, grace period, volumes. The token of the cluster's API goes into the
sidecar's container alone; the pod's other containers get none.
*/}}

{{- define "marketplace-sidecar.pod" -}}
{{- include "marketplace-sidecar.check" . -}}
{{- $sidecar := .Values.sidecar -}}
serviceAccountName: {{ include "marketplace-sidecar.serviceAccountName" . | quote }}
automountServiceAccountToken: false
terminationGracePeriodSeconds: {{ $sidecar.terminationGracePeriodSeconds }}
{{- with $sidecar.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with (include "marketplace-sidecar.kubernetes" . | fromYaml).readiness_gate }}
readinessGates:
  - conditionType: {{ quote . }}
{{- end }}
{{- end }}

{{- define "marketplace-sidecar.volumes" -}}
{{- include "marketplace-sidecar.check" . -}}
{{- $sidecar := .Values.sidecar -}}
{{- $files := (include "marketplace-sidecar.resources" . | fromYaml).files }}
{{- if not $sidecar.productFromImage }}
- name: marketplace-config
  {{- if $files }}
  # One volume, because no other one can be mounted inside a volume that is read-only.
  projected:
    sources:
      - configMap:
          {{- include "marketplace-sidecar.configItems" . | nindent 10 }}
      - downwardAPI:
          items:
            {{- include "marketplace-sidecar.resourceItems" (dict "files" $files "folder" "resources/") | trim | nindent 12 }}
  {{- else }}
  configMap:
    {{- include "marketplace-sidecar.configItems" . | nindent 4 }}
  {{- end }}
{{- else if $files }}
- name: marketplace-resources
  downwardAPI:
    items:
      {{- include "marketplace-sidecar.resourceItems" (dict "files" $files "folder" "") | trim | nindent 6 }}
{{- end }}
{{- if eq $sidecar.ledger.volume "emptyDir" }}
- name: marketplace-ledger
  {{- with ($sidecar.ledger.emptyDir).sizeLimit }}
  emptyDir:
    sizeLimit: {{ . }}
  {{- else }}
  emptyDir: {}
  {{- end }}
{{- else if eq $sidecar.ledger.volume "existingClaim" }}
- name: marketplace-ledger
  persistentVolumeClaim:
    claimName: {{ $sidecar.ledger.existingClaim | quote }}
{{- end }}
{{- if (include "marketplace-sidecar.kubernetes" . | fromYaml).enabled }}
- name: marketplace-cluster-token
  projected:
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3607
      - configMap:
          name: kube-root-ca.crt
          items:
            - key: ca.crt
              path: ca.crt
      - downwardAPI:
          items:
            - path: namespace
              fieldRef:
                fieldPath: metadata.namespace
{{- end }}
{{- if eq $sidecar.serviceAccount.webIdentity "chart" }}
- name: marketplace-web-identity
  projected:
    sources:
      - serviceAccountToken:
          audience: sts.amazonaws.com
          path: token
          expirationSeconds: 86400
{{- end }}
{{- with ($sidecar.caBundle).configMap }}
- name: marketplace-ca
  configMap:
    name: {{ quote . }}
{{- end }}
{{- with $sidecar.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Name and items of the configuration's config map in a volume. */}}
{{- define "marketplace-sidecar.configItems" -}}
name: {{ include "marketplace-sidecar.name" . | quote }}
items:
  - key: config.yaml
    path: config.yaml
  {{- range $version, $_ := (include "marketplace-sidecar.product" . | fromYaml).public_keys }}
  - key: {{ $version }}.pem
    path: keys/{{ $version }}.pem
  {{- end }}
{{- end }}

{{- define "marketplace-sidecar.volumeMounts" -}}
{{- $sidecar := .Values.sidecar -}}
{{- if not $sidecar.productFromImage }}
- name: marketplace-config
  mountPath: /etc/marketplace-sidecar
  readOnly: true
{{- else if $sidecar.resourceFiles }}
- name: marketplace-resources
  mountPath: /etc/marketplace-sidecar/resources
  readOnly: true
{{- end }}
- name: marketplace-ledger
  mountPath: /var/lib/marketplace-sidecar
{{- if (include "marketplace-sidecar.kubernetes" . | fromYaml).enabled }}
- name: marketplace-cluster-token
  mountPath: /var/run/secrets/kubernetes.io/serviceaccount
  readOnly: true
{{- end }}
{{- if eq $sidecar.serviceAccount.webIdentity "chart" }}
- name: marketplace-web-identity
  mountPath: /var/run/secrets/marketplace-web-identity
  readOnly: true
{{- end }}
{{- if ($sidecar.caBundle).configMap }}
- name: marketplace-ca
  mountPath: /etc/marketplace-sidecar-ca
  readOnly: true
{{- end }}
{{- with $sidecar.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* For the volumeClaimTemplates of a StatefulSet; renders nothing for the other kinds of volume. */}}
{{- define "marketplace-sidecar.volumeClaimTemplates" -}}
{{- with .Values.sidecar.ledger -}}
{{- if eq .volume "claimTemplate" -}}
- metadata:
    name: marketplace-ledger
  spec:
    accessModes: [ReadWriteOnce]
    {{- with .claimTemplate.storageClassName }}
    storageClassName: {{ quote . }}
    {{- end }}
    resources:
      requests:
        storage: {{ .claimTemplate.size }}
{{- end }}
{{- end }}
{{- end }}
