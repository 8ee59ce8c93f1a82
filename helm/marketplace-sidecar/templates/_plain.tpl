{{/*
Malformed values: a proxy with white space, quotes or a password that breaks its URL, a key in a form that the sidecar
does not read. The sidecar checks key files in the same way. No part of a proxy's URL is shown.
*/}}

{{- define "marketplace-sidecar.problems.plain" -}}
{{- $proxy := .Values.sidecar.proxy | default dict -}}
{{- $host := "(\\[[0-9A-Fa-f:.]+\\]|[^]/?#@:[]+)" -}}
{{- $port := include "marketplace-sidecar.portPattern" nil -}}
{{- $url := printf "^((?i)https?://)?([^/?#@]*@)?%s%s/?$" $host $port -}}
{{- range $name := list "http" "https" "exclude" }}
{{- $value := get $proxy $name | default "" }}
{{- if ne $value (trim $value) }}
sidecar.proxy.{{ $name }}: has white space or a line end around its value; set the bare value
{{- else if regexMatch "^[\"'`\u201c\u201d]|[\"'`\u201c\u201d]$" $value }}
sidecar.proxy.{{ $name }}: has quotes around its value; set the bare value
{{- else if and (ne $name "exclude") (regexMatch "[/?#\\\\].*@" (regexReplaceAll "^[A-Za-z]+://" $value "")) }}
sidecar.proxy.{{ $name }}: has a user name or password (not shown here) that breaks its URL; percent-encode each special character in them (/ is %2F, # is %23, ? is %3F, @ is %40)
{{- else if and $value (ne $name "exclude") (not (regexMatch $url $value)) }}
sidecar.proxy.{{ $name }}: is no URL of a proxy; set one such as http://proxy.example:3128, without a path
{{- end }}
{{- end }}
{{- if not .Values.sidecar.productFromImage }}
{{- range $version, $pem := (include "marketplace-sidecar.product" . | fromYaml).public_keys }}
{{- include "marketplace-sidecar.problems.key" (dict "key" (printf "sidecar.config.product.public_keys.%s" (toString $version)) "pem" ($pem | default "" | toString)) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "marketplace-sidecar.problems.key" -}}
{{- $labels := regexFindAll "-----BEGIN [A-Z0-9 ]+-----" .pem -1 -}}
{{- $label := first (append $labels "") | trimPrefix "-----BEGIN " | trimSuffix "-----" -}}
{{- if and .pem (hasSuffix "PRIVATE KEY" (join " " $labels | trimSuffix "-----")) }}
{{ .key }}: holds a private key; remove it from every place immediately and set the public key that AWS Marketplace shows
{{- else if gt (len $labels) 1 }}
{{ .key }}: holds more than one PEM block; give each version a key of its own
{{- else if eq $label "RSA PUBLIC KEY" }}
{{ .key }}: holds a PEM RSA PUBLIC KEY (PKCS#1), not a PUBLIC KEY; convert it: openssl rsa -RSAPublicKey_in -in OLD -pubout -out NEW
{{- else if eq $label "CERTIFICATE" }}
{{ .key }}: holds a PEM CERTIFICATE, not a PUBLIC KEY; extract the key: openssl x509 -in OLD -noout -pubkey > NEW
{{- else if and $label (ne $label "PUBLIC KEY") }}
{{ .key }}: holds a PEM {{ $label }}, not a PUBLIC KEY; set the key that AWS Marketplace shows for this version
{{- end }}
{{- end }}
