{{/*
What the seller fixes where no value of an installation reaches: in a file `product.yaml` beside Chart.yaml, or in the
image (productFromImage). The sidecar takes these keys from its file alone; here they are kept out of the values, the
variables and the mounts.
*/}}

{{/*
The defaults of the seller's keys. A template cannot see which values an installation set, only what they are: a value
that differs from these was set. They are those of values.yaml, which a test compares.
*/}}
{{- define "marketplace-sidecar.sellerDefaults" -}}
product:
  code: ""
  public_key_version: 1
  public_keys: {}
  trusted_codes: []
entitlement:
  check: register
  on_denied: hold
  retry_for: 30m
  remember_for: 24h
metering:
  dimensions: []
  quantity: decimal
  settle: 2m
  spread: 20m
  window: 6h
  late: carry
  report_zero: true
  failing_after: 2h
  on_failing: warn
license: {}
marketplace:
  endpoint_url: null
  mode: live
{{- end }}

{{/* The groups that product.yaml fixes, as a mapping; `product` alone where it holds the product's own keys. */}}
{{- define "marketplace-sidecar.fixed" -}}
{{- $file := .Files.Get "product.yaml" | fromYaml -}}
{{- $groups := pick $file "product" "entitlement" "metering" "license" "marketplace" -}}
{{- $fixed := dict -}}
{{- range $group, $members := $groups -}}
{{- $_ := set $fixed $group (kindIs "map" $members | ternary $members dict) -}}
{{- end -}}
{{- if and $file (not $groups) (not (hasKey $file "Error")) -}}
{{- $_ := set $fixed "product" $file -}}
{{- end -}}
{{- toYaml $fixed -}}
{{- end }}

{{/*
The configuration in force: the values, and in place of theirs each group that the seller fixed. The image's groups are
not known here; they count as the defaults.
*/}}
{{- define "marketplace-sidecar.config" -}}
{{- $config := deepCopy .Values.sidecar.config -}}
{{- $defaults := include "marketplace-sidecar.sellerDefaults" . | fromYaml -}}
{{- $fixed := include "marketplace-sidecar.fixed" . | fromYaml -}}
{{- if .Values.sidecar.productFromImage -}}
{{- $fixed = omit $defaults "license" -}}
{{- end -}}
{{- range $group, $members := $fixed -}}
{{- $whole := eq $group "marketplace" | ternary (get $config $group | default dict) dict | deepCopy -}}
{{- range $part := list (eq $group "product" | ternary dict (get $defaults $group)) $members -}}
{{- range $key, $value := $part -}}
{{- $_ := set $whole $key $value -}}
{{- end -}}
{{- end -}}
{{- $_ := set $config $group $whole -}}
{{- end -}}
{{- toYaml $config -}}
{{- end }}

{{- define "marketplace-sidecar.problems.seller" -}}
{{- $sidecar := .Values.sidecar -}}
{{- $text := .Files.Get "product.yaml" -}}
{{- $file := $text | fromYaml -}}
{{- $groups := list "product" "entitlement" "metering" "license" "marketplace" -}}
{{- $named := keys (pick $file "product" "entitlement" "metering" "license" "marketplace") -}}
{{- $fixed := include "marketplace-sidecar.fixed" . | fromYaml -}}
{{- $defaults := include "marketplace-sidecar.sellerDefaults" . | fromYaml -}}
{{- if and $text (hasKey $file "Error") (not $named) }}
product.yaml: is not a mapping in YAML: {{ get $file "Error" | replace "\n" " " }}; write one of product, entitlement, metering, license and marketplace, or the product's own keys, at its top level
{{- else if and $text (not $file) }}
product.yaml: is empty and fixes nothing; write the product in it, or remove the file
{{- else if $named }}
{{- $stray := keys (omit $file "product" "entitlement" "metering" "license" "marketplace") | sortAlpha }}
{{- if $stray }}
product.yaml: has what it should not: {{ join ", " $stray }}; it holds product, entitlement, metering, license and marketplace, or the product's own keys alone
{{- end }}
{{- range $group := $named }}
{{- if not (kindIs "map" (get $file $group)) }}
product.yaml: {{ $group }} is not a mapping, and would fix nothing; write its keys below it, or remove it
{{- end }}
{{- end }}
{{- $buyers := keys (omit (get $fixed "marketplace" | default dict) "mode" "endpoint_url") | sortAlpha }}
{{- if $buyers }}
product.yaml: marketplace has {{ join ", " $buyers }}, and of this group only mode and endpoint_url are the seller's; remove the others
{{- end }}
{{- end }}
{{- if and $sidecar.productFromImage $text }}
sidecar.productFromImage: the chart has a product.yaml too; remove the file, or set this to false
{{- end }}
{{- $by := $sidecar.productFromImage | ternary "the image (sidecar.productFromImage)" "the chart's product.yaml" }}
{{- range $group := $groups }}
{{- if or $sidecar.productFromImage (hasKey $fixed $group) }}
{{- $known := get $defaults $group }}
{{- $set := list }}
{{- range $key, $value := get $sidecar.config $group | default dict }}
{{- $buyers := and (eq $group "marketplace") (not (hasKey $known $key)) }}
{{- if not (or $buyers (kindIs "invalid" $value) (eq (toJson $value) (get $known $key | toJson))) }}
{{- $set = append $set $key }}
{{- end }}
{{- end }}
{{- if $set }}
sidecar.config.{{ $group }}: {{ eq $group "product" | ternary "the product" $group }} is fixed by {{ $by }}; leave {{ sortAlpha $set | join ", " }} out of the values
{{- end }}
{{- end }}
{{- end }}
{{- range $sidecar.extraEnv }}
{{- $flat := include "marketplace-sidecar.flatName" .name }}
{{- $share := regexFind "^sidecar(product|entitlement|metering|license|marketplacemode|marketplaceendpointurl)" $flat | trimPrefix "sidecar" }}
{{- if $share }}
sidecar.extraEnv: {{ .name }} would change {{ eq $share "product" | ternary "the product" (regexFind "^(entitlement|metering|license|marketplace)" $share) }}, which no variable may; {{ $sidecar.productFromImage | ternary "configure it in the image" "use sidecar.config" }}
{{- else if not (regexMatch "^[!-~]+$" .name) }}
sidecar.extraEnv: {{ .name | quote }} has characters that no variable of a pod may have; write it in ASCII
{{- end }}
{{- end }}
{{- range $sidecar.extraVolumeMounts }}
{{- $path := clean .mountPath | trimSuffix "/" | printf "%s/" }}
{{- range $ours := list "/etc/marketplace-sidecar/" "/opt/marketplace-sidecar/" }}
{{- if or (hasPrefix $path $ours) (hasPrefix $ours $path) }}
sidecar.extraVolumeMounts: {{ $path | trimSuffix "/" | default "/" }} would cover {{ trimSuffix "/" $ours }}, which holds {{ contains "/etc/" $ours | ternary "the configuration" "the program" }} and is the seller's; mount the volume elsewhere
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* A variable's name without case and separators, which is how the sidecar compares names. */}}
{{- define "marketplace-sidecar.flatName" -}}
{{- regexReplaceAll "[^a-z0-9]+" (lower .) "" -}}
{{- end }}
