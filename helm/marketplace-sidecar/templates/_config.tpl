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
{{- include "marketplace-sidecar.kibibytes" .emptyDir.sizeLimit -}}
{{- else if eq .volume "claimTemplate" -}}
{{- include "marketplace-sidecar.kibibytes" .claimTemplate.size -}}
{{- end -}}
{{- end }}

{{/* ledger.max_size: the given one, else 7/8 of the volume; nothing where the chart knows neither. */}}
{{- define "marketplace-sidecar.ledgerMaxSize" -}}
{{- if .maxSize -}}
{{- .maxSize -}}
{{- else -}}
{{- with include "marketplace-sidecar.ledgerVolume" . -}}
{{- $size := div (mul (int64 .) 7) 8 -}}
{{- if mod $size 1024 -}}{{ printf "%dKiB" $size }}{{- else -}}{{ printf "%dMiB" (div $size 1024) }}{{- end -}}
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
{{- range $group := list "api" "kubernetes" "log" "marketplace" "probes" "shutdown" }}
{{- range $key, $value := get $sidecar.config $group }}
{{- if not (kindIs "invalid" $value) }}
- name: SIDECAR_{{ upper $group }}__{{ upper $key }}
  value: {{ $value | toString | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
