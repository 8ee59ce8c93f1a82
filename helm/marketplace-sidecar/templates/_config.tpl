{{/*
The configuration file and the public keys. What the seller fixes comes from a file of the chart that no value can
change (_seller.tpl), or from the values. Where the image holds the file, only what the chart itself depends on is handed
in, by variables: no key of the seller's.
*/}}

{{- define "marketplace-sidecar.product" -}}
{{- toYaml (include "marketplace-sidecar.config" . | fromJson).product -}}
{{- end }}

{{/* The group `kubernetes`; null switches it off. */}}
{{- define "marketplace-sidecar.kubernetes" -}}
{{- (include "marketplace-sidecar.config" . | fromJson).kubernetes | default (dict "enabled" false) | toYaml -}}
{{- end }}

{{/* The data of the config map: config.yaml and one PEM file for each key version. */}}
{{- define "marketplace-sidecar.configData" -}}
{{- if not .Values.sidecar.productFromImage -}}
{{- $config := include "marketplace-sidecar.config" . | fromJson -}}
{{- $product := $config.product -}}
{{- $paths := dict -}}
{{- range $version, $_ := $product.public_keys -}}
{{- $_ := set $paths $version (printf "/etc/marketplace-sidecar/keys/%s.pem" $version) -}}
{{- end -}}
{{- $_ := set $config "product" (set (deepCopy $product) "public_keys" $paths) -}}
{{- $_ := set $config "kubernetes" (include "marketplace-sidecar.kubernetes" . | fromYaml) -}}
{{- $ledger := dict "path" "/var/lib/marketplace-sidecar/ledger.db" -}}
{{- with include "marketplace-sidecar.ledgerMaxSize" .Values.sidecar.ledger -}}
{{- $_ := set $ledger "max_size" . -}}
{{- end -}}
{{- $_ := set $config "ledger" $ledger -}}
config.yaml: |
  {{- toYaml $config | nindent 2 }}
{{- range $version, $pem := $product.public_keys }}
{{ $version }}.pem: |
  {{- trim $pem | nindent 2 }}
{{- end }}
{{- end -}}
{{- end }}

{{/* A quantity of Kubernetes such as 1Gi, in KiB. */}}
{{- define "marketplace-sidecar.kibibytes" -}}
{{- $units := dict "Ki" 1 "Mi" 1024 "Gi" 1048576 -}}
{{- $unit := regexFind "[KMG]i" . -}}
{{- mul (int64 (trimSuffix $unit .)) (get $units $unit) -}}
{{- end }}

{{/* How large the volume of the ledger is, in KiB; nothing where the chart does not know. */}}
{{- define "marketplace-sidecar.ledgerVolume" -}}
{{- if eq .volume "emptyDir" -}}
{{- with (.emptyDir).sizeLimit }}{{ include "marketplace-sidecar.kibibytes" . }}{{ end -}}
{{- else if eq .volume "claimTemplate" -}}
{{- with (.claimTemplate).size }}{{ include "marketplace-sidecar.kibibytes" . }}{{ end -}}
{{- end -}}
{{- end }}

{{/* ledger.max_size: the given one, else 7/8 of the volume; nothing where the chart knows neither. */}}
{{- define "marketplace-sidecar.ledgerMaxSize" -}}
{{- if .maxSize -}}
{{- .maxSize -}}
{{- else -}}
{{- with include "marketplace-sidecar.ledgerVolume" . -}}
{{- $size := div (mul (int64 .) 7) 8 -}}
{{- /* A size of the sidecar has nine digits at most; a larger volume loses less than one MiB. */ -}}
{{- if and (mod $size 1024) (lt $size 1000000000) -}}{{ printf "%dKiB" $size }}{{- else -}}{{ printf "%dMiB" (div $size 1024) }}{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "marketplace-sidecar.configEnv" -}}
{{- $sidecar := .Values.sidecar -}}
{{- if $sidecar.productFromImage }}
{{- with include "marketplace-sidecar.ledgerMaxSize" $sidecar.ledger }}
- name: SIDECAR_LEDGER__MAX_SIZE
  value: {{ . | quote }}
{{- end }}
{{- /* The image's file has a value of its own for a key that is left out here. */}}
{{- $config := include "marketplace-sidecar.config" . | fromJson }}
{{- range $group := list "api" "kubernetes" "log" "marketplace" "probes" "shutdown" }}
{{- range $key, $value := eq $group "kubernetes" | ternary (include "marketplace-sidecar.kubernetes" $ | fromYaml) (get $config $group) }}
{{- $sellers := and (eq $group "marketplace") (has $key (list "mode" "endpoint_url")) }}
{{- if not (or $sellers (kindIs "invalid" $value)) }}
- name: SIDECAR_{{ upper $group }}__{{ upper $key }}
  value: {{ include "marketplace-sidecar.literal" $value | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
