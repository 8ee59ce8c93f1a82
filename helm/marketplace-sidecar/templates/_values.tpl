{{/*
Values that the sidecar refuses when it starts, each by itself: it would refuse them in a pod that is already rolling. The
ranges are those that the sidecar declares (_declared.tpl). A product.yaml is judged here alone, because no schema sees it.
*/}}

{{- define "marketplace-sidecar.problems.values" -}}
{{- $config := include "marketplace-sidecar.config" . | fromJson -}}
{{- $declared := include "marketplace-sidecar.declared" . | fromJson }}
{{- range $group, $keys := $declared }}
{{- $members := get $config $group | default dict }}
{{- range $key, $one := $keys }}
{{- if hasKey $members $key }}
{{- include "marketplace-sidecar.problems.value" (dict "key" (printf "sidecar.config.%s.%s" $group $key) "value" (get $members $key) "declared" $one) }}
{{- end }}
{{- end }}
{{- if has $group (list "entitlement" "license" "metering") }}
{{- range $key := keys $members | sortAlpha }}
{{- if not (hasKey $keys $key) }}
product.yaml: {{ $group }} has the unknown key {{ $key }}; correct its name, or remove it
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- include "marketplace-sidecar.problems.places" $config }}
{{- include "marketplace-sidecar.problems.lists" (dict "config" $config "declared" $declared) }}
{{- end }}

{{/* Takes {key, value, declared}. Text that is empty is judged by who needs it. */}}
{{- define "marketplace-sidecar.problems.value" -}}
{{- $declared := .declared -}}
{{- $text := kindIs "string" .value | ternary .value "" -}}
{{- if and (eq $declared.kind "duration") (has (kindOf .value) (list "int64" "float64")) (eq (toString .value) "0") -}}{{- $text = "0s" -}}{{- end -}}
{{- if kindIs "invalid" .value }}
{{- if not $declared.optional }}
{{ .key }}: has no value; remove the key to use the default
{{- end }}
{{- else if eq $declared.kind "duration" }}
{{- if not (regexMatch "^(0|[1-9][0-9]{0,8})[smhd]$" $text) }}
{{ .key }}: {{ .value }} is not a duration; write a whole number and s, m, h or d, such as 90s, 30m or 24h
{{- else }}
{{- $seconds := include "marketplace-sidecar.seconds" $text | int64 }}
{{- if or (lt $seconds (include "marketplace-sidecar.seconds" $declared.least | int64)) (gt $seconds (include "marketplace-sidecar.seconds" $declared.most | int64)) }}
{{ .key }}: {{ .value }} is out of range ({{ $declared.because }}); give {{ $declared.least }} to {{ $declared.most }}
{{- end }}
{{- end }}
{{- else if eq $declared.kind "whole" }}
{{- if or (not (has (kindOf .value) (list "int64" "float64"))) (ne (float64 .value) (floor .value)) (lt (float64 .value) (float64 $declared.least)) (gt (float64 .value) (float64 $declared.most)) }}
{{ .key }}: {{ .value }} is out of range; give a whole number from {{ $declared.least }} to {{ int64 $declared.most }}
{{- end }}
{{- else if eq $declared.kind "word" }}
{{- if not (has $text $declared.words) }}
{{ .key }}: {{ .value }} is not one of {{ join ", " $declared.words }}; use one of these words
{{- end }}
{{- else if eq $declared.kind "text" }}
{{- if or (ne $text (toString .value)) (and $text (not (include "marketplace-sidecar.isPlain" $text))) }}
{{ .key }}: is not plain text: it has space around it, or control characters in it; write it as plain text
{{- else if and $text $declared.pattern (not (regexMatch ($declared.pattern | default "") $text)) }}
{{ .key }}: {{ $text }} {{ $declared.reason }}; {{ $declared.cure }}
{{- end }}
{{- else if ne (kindOf .value) (get (dict "flag" "bool" "list" "slice" "map" "map") $declared.kind) }}
{{ .key }}: is not a {{ get (dict "flag" "boolean" "list" "list" "map" "mapping") $declared.kind }}; {{ get (dict "flag" "write true or false, without quotes" "list" "write it as [...]" "map" "write it as {name: value}") $declared.kind }}
{{- end }}
{{- end }}

{{/* Not empty where one line of printable text has no space around it. */}}
{{- define "marketplace-sidecar.isPlain" -}}
{{- if regexMatch "^[^\\p{C}\\p{Z}]+( +[^\\p{C}\\p{Z}]+)*$" . -}}true{{- end -}}
{{- end }}

{{/* Addresses and paths; takes the configuration. */}}
{{- define "marketplace-sidecar.problems.places" -}}
{{- $host := .probes.host | toString }}
{{- if not (include "marketplace-sidecar.isHost" $host) }}
sidecar.config.probes.host: {{ $host }} is not an IP address or a host name; use 0.0.0.0, which covers IPv6 too
{{- end }}
{{- with .marketplace.endpoint_url }}
{{- $authority := regexReplaceAll "^https?://" (toString .) "" | trimSuffix "/" }}
{{- $name := regexReplaceAll (printf ":?%s$" (include "marketplace-sidecar.portPattern" nil)) $authority "" }}
{{- if or (eq $authority (toString .)) (not (include "marketplace-sidecar.isHost" (regexReplaceAll "^\\[(.*:.*)\\]$" $name "$1"))) }}
sidecar.config.marketplace.endpoint_url: {{ . }} is not the address of an HTTP service; write it as http://host:port
{{- end }}
{{- end }}
{{- with .api.socket }}
{{- if gt (len .) 107 }}
sidecar.config.api.socket: is longer than 107 bytes, more than a socket address holds; use a shorter path
{{- end }}
{{- end }}
{{- range $key := list "socket" "token_file" }}
{{- if hasSuffix "/" (get $.api $key | default "") }}
sidecar.config.api.{{ $key }}: {{ get $.api $key }} names a folder; name a file in it
{{- end }}
{{- end }}
{{- end }}

{{/* The rest of a URL's host, which may be nothing: a port from 1 to 65535. */}}
{{- define "marketplace-sidecar.portPattern" -}}
(:0*([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?
{{- end }}

{{/* Not empty for an IP address, or a host name that is no mistyped IPv4 address. */}}
{{- define "marketplace-sidecar.isHost" -}}
{{- $byte := "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])" -}}
{{- $four := printf "%s([.]%s){3}" $byte $byte -}}
{{- $label := "[A-Za-z0-9_]([-A-Za-z0-9_]{0,61}[A-Za-z0-9])?" -}}
{{- $parts := splitList ":" . -}}
{{- if gt (len $parts) 1 -}}
{{- $groups := printf "([0-9A-Fa-f]{1,4}:){0,7}([0-9A-Fa-f]{1,4}|%s)" $four -}}
{{- $whole := printf "^([0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}$|^([0-9A-Fa-f]{1,4}:){6}%s$" $four -}}
{{- $cut := printf "^(([0-9A-Fa-f]{1,4}:){0,6}[0-9A-Fa-f]{1,4})?::(%s)?$" $groups -}}
{{- if or (regexMatch $whole .) (and (regexMatch $cut .) (lt (len (compact $parts)) (contains "." . | ternary 7 8))) -}}true{{- end -}}
{{- else if regexMatch (printf "^%s$" $four) . -}}true
{{- else if and (le (len .) 253) (regexMatch (printf "^%s([.]%s)*[.]?$" $label $label) .) (not (regexMatch "(^|[.])[0-9]+[.]?$" .)) -}}true
{{- end -}}
{{- end }}

{{/* Members of lists and mappings; takes {config, declared}. Names are judged as the probe's dimension is. */}}
{{- define "marketplace-sidecar.problems.lists" -}}
{{- $config := .config -}}
{{- $name := .declared.entitlement.probe_dimension }}
{{- range $version, $_ := kindIs "map" $config.product.public_keys | ternary $config.product.public_keys dict }}
{{- $most := $.declared.product.public_key_version.most }}
{{- if or (not (regexMatch "^[1-9][0-9]{0,9}$" (toString $version))) (gt (int64 (toString $version)) (int64 $most)) }}
sidecar.config.product.public_keys: {{ $version }} is not the version of a key; give whole numbers from 1 to {{ int64 $most }}
{{- end }}
{{- end }}
{{- range $code := kindIs "slice" $config.product.trusted_codes | ternary $config.product.trusted_codes list }}
{{- if not (regexMatch $.declared.product.code.pattern (toString $code)) }}
sidecar.config.product.trusted_codes: {{ toString $code | quote }} {{ $.declared.product.code.reason }}; {{ $.declared.product.code.cure }}
{{- end }}
{{- end }}
{{- range $tier := kindIs "slice" $config.license.tiers | ternary $config.license.tiers list }}
{{- include "marketplace-sidecar.problems.listed" (dict "key" "sidecar.config.license.tiers" "name" $tier "declared" $name) }}
{{- end }}
{{- range $required := kindIs "slice" $config.license.require | ternary $config.license.require list }}
{{- if not (kindIs "map" $required) }}
sidecar.config.license.require: {{ $required }} is not a mapping; write it as {name: users}
{{- else }}
{{- include "marketplace-sidecar.problems.listed" (dict "key" "sidecar.config.license.require" "name" $required.name "declared" $name) }}
{{- if hasKey $required "hold" }}
{{- include "marketplace-sidecar.problems.value" (dict "key" "sidecar.config.license.require: hold" "value" $required.hold "declared" $.declared.license.require.hold) }}
{{- end }}
{{- range $key := keys (omit $required "name" "hold") | sortAlpha }}
product.yaml: license.require has the unknown key {{ $key }}; correct its name, or remove it
{{- end }}
{{- end }}
{{- end }}
{{- $dimensions := kindIs "slice" $config.metering.dimensions | ternary $config.metering.dimensions list }}
{{- if gt (len $dimensions) (int $.declared.metering.dimensions.most) }}
sidecar.config.metering.dimensions: has {{ len $dimensions }} items, and a listing has {{ $.declared.metering.dimensions.most }} at most; name the dimensions of the listing
{{- end }}
{{- range $dimension := $dimensions }}
{{- if not (kindIs "map" $dimension) }}
sidecar.config.metering.dimensions: {{ $dimension }} is not a mapping; write it as {name: requests}
{{- else }}
{{- include "marketplace-sidecar.problems.listed" (dict "key" "sidecar.config.metering.dimensions" "name" $dimension.name "declared" $name) }}
{{- if hasKey $dimension "aggregation" }}
{{- include "marketplace-sidecar.problems.value" (dict "key" "sidecar.config.metering.dimensions: aggregation" "value" $dimension.aggregation "declared" $.declared.metering.dimensions.aggregation) }}
{{- end }}
{{- range $key := keys (omit $dimension "name" "aggregation" "source") | sortAlpha }}
product.yaml: metering.dimensions has the unknown key {{ $key }}; correct its name, or remove it
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The API name of a dimension or an entitlement; takes {key, name, declared}. */}}
{{- define "marketplace-sidecar.problems.listed" -}}
{{- if kindIs "invalid" .name }}
{{ .key }}: has an item without a name; set the API name of the listing
{{- else if eq (toString .name) "" }}
{{ .key }}: has an item with an empty name; set the API name of the listing
{{- else }}
{{- include "marketplace-sidecar.problems.value" (dict "key" .key "value" .name "declared" .declared) }}
{{- end }}
{{- end }}

{{/* Takes {variable, flat, declared}: a variable that overrides a setting has its exact name and a valid value. */}}
{{- define "marketplace-sidecar.problems.variable" -}}
{{- $name := .variable.name -}}
{{- $known := dict -}}
{{- $similar := "" -}}
{{- range $group, $keys := .declared -}}
{{- range $key, $one := $keys -}}
{{- $exact := printf "SIDECAR_%s__%s" (upper $group) (upper $key) -}}
{{- if eq $name $exact -}}{{- $known = $one -}}{{- end -}}
{{- if eq $.flat (include "marketplace-sidecar.flatName" $exact) -}}{{- $similar = $exact -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if $known }}
{{- if not (and $known.optional (not .variable.value)) }}
{{- if hasKey .variable "value" }}
{{- include "marketplace-sidecar.problems.value" (dict "key" (printf "sidecar.extraEnv: %s" $name) "value" .variable.value "declared" $known) }}
{{- end }}
{{- end }}
{{- else if or $similar (hasPrefix "SIDECAR_" $name) }}
sidecar.extraEnv: {{ $name }} is not a setting, and the sidecar would not start; {{ with $similar }}write it as {{ . }}{{ else }}correct its name, or remove it{{ end }}
{{- end }}
{{- end }}
