{{/*
The configuration file and the public keys. The product comes from a file of the chart that no value can change, or
from the values. Where the image holds the file, only what the chart itself depends on is handed in, by variables.
*/}}

{{- define "marketplace-sidecar.product" -}}
{{- $fixed := .Files.Get "product.yaml" -}}
{{- if $fixed -}}
{{- $fixed -}}
{{- else -}}
{{- toYaml .Values.sidecar.config.product -}}
{{- end -}}
{{- end }}

{{/* The group `kubernetes`; null switches it off. */}}
{{- define "marketplace-sidecar.kubernetes" -}}
{{- .Values.sidecar.config.kubernetes | default (dict "enabled" false) | toYaml -}}
{{- end }}

{{/* The data of the config map: config.yaml and one PEM file for each key version. */}}
{{- define "marketplace-sidecar.configData" -}}
{{- if not .Values.sidecar.productFromImage -}}
{{- $product := include "marketplace-sidecar.product" . | fromYaml -}}
{{- $paths := dict -}}
{{- range $version, $_ := $product.public_keys -}}
{{- $_ := set $paths $version (printf "/etc/marketplace-sidecar/keys/%s.pem" $version) -}}
{{- end -}}
{{- $config := deepCopy .Values.sidecar.config -}}
{{- $_ := set $config "product" (set (deepCopy $product) "public_keys" $paths) -}}
{{- $_ := set $config "kubernetes" (include "marketplace-sidecar.kubernetes" . | fromYaml) -}}
{{- $_ := set $config "ledger" (dict "path" "/var/lib/marketplace-sidecar/ledger.db") -}}
config.yaml: |
  {{- toYaml $config | nindent 2 }}
{{- range $version, $pem := $product.public_keys }}
{{ $version }}.pem: |
  {{- trim $pem | nindent 2 }}
{{- end }}
{{- end -}}
{{- end }}

{{- define "marketplace-sidecar.configEnv" -}}
{{- $sidecar := .Values.sidecar -}}
{{- if $sidecar.productFromImage }}
{{- range $group := list "api" "kubernetes" "log" "marketplace" "probes" "shutdown" }}
{{- range $key, $value := eq $group "kubernetes" | ternary (include "marketplace-sidecar.kubernetes" $ | fromYaml) (get $sidecar.config $group) }}
{{- if not (kindIs "invalid" $value) }}
- name: SIDECAR_{{ upper $group }}__{{ upper $key }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
