{{/*
Dimensions that the sidecar measures by a container's resources: the downward API's files for it, and what the pod must
have for them. Without the limit or request Kubernetes would write what the whole node has.
*/}}

{{/* The files, as {files: [{what, by, container}]}: of the configuration, or of the values if the image has it. */}}
{{- define "marketplace-sidecar.resources" -}}
{{- $found := list -}}
{{- range ((include "marketplace-sidecar.config" . | fromJson).metering).dimensions -}}
{{- with (.source).resource -}}
{{- $found = append $found . -}}
{{- end -}}
{{- end -}}
{{- if .Values.sidecar.productFromImage -}}
{{- $found = .Values.sidecar.resourceFiles | default list -}}
{{- end -}}
{{- $files := list -}}
{{- range $found -}}
{{- $files = append $files (dict "what" .what "by" (.by | default "limit") "container" .container) -}}
{{- end -}}
{{- dict "files" (uniq $files) | toYaml -}}
{{- end }}

{{/* The items of the downward API's volume; takes {files, folder}. */}}
{{- define "marketplace-sidecar.resourceItems" -}}
{{- $folder := .folder -}}
{{- range .files }}
- path: {{ printf "%s%s.%ss.%s" $folder .container .by .what }}
  resourceFieldRef:
    containerName: {{ .container | quote }}
    resource: {{ .by }}s.{{ .what }}
    divisor: {{ eq .what "cpu" | ternary "1m" "1" | quote }}
{{- end }}
{{- end }}

{{- define "marketplace-sidecar.problems.sources" -}}
{{- $sidecar := .Values.sidecar -}}
{{- $declared := include "marketplace-sidecar.declared" . | fromJson }}
{{- range $dimension := (include "marketplace-sidecar.config" . | fromJson).metering.dimensions }}
{{- if .source }}
{{- if ne (.aggregation | default "sum") "sum" }}
sidecar.config.metering.dimensions: gives {{ .name }} the aggregation {{ .aggregation }}, and the sidecar adds up what it measures; remove aggregation
{{- end }}
{{- $others := keys (omit .source "pod_time" "resource" "prometheus" "otlp") | sortAlpha }}
{{- if $others }}
sidecar.config.metering.dimensions: measures {{ .name }} by {{ join ", " $others }}, and this version measures pod_time, resource, prometheus and otlp only; report this usage with POST /v1/usage, without a source
{{- end }}
{{- range $kind := list "prometheus" "otlp" }}
{{- with get $dimension.source $kind }}
{{- include (printf "marketplace-sidecar.problems.%s" $kind) (dict "key" (printf "sidecar.config.metering.dimensions: the source of %s" $dimension.name) "source" . "every" $declared.metering.dimensions.every) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- if and $sidecar.resourceFiles (not $sidecar.productFromImage) }}
sidecar.resourceFiles: is for an image with its own configuration; remove it, and the chart takes the sources of metering.dimensions
{{- end }}
{{- end }}

{{/* The next two take {key, source, every}. */}}
{{- define "marketplace-sidecar.problems.prometheus" -}}
{{- $key := .key -}}
{{- $source := .source -}}
{{- $byte := "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])" -}}
{{- $url := printf "^http://(127([.]%s){3}|localhost|[[]::1[]])%s(/[!\"$-~]*)?$" $byte (include "marketplace-sidecar.portPattern" nil) }}
{{- if not (regexMatch $url ($source.url | toString)) }}
{{ $key }} has the url {{ $source.url }}, which is no page of this pod; write one such as http://127.0.0.1:9090/metrics, with other characters escaped by %
{{- end }}
{{- if and (hasSuffix "_bucket" ($source.metric | toString)) (not (hasKey ($source.match | default dict) "le")) }}
{{ $key }} has the metric {{ $source.metric }}, which counts each observation in several buckets; name one bucket in match, such as {le: \+Inf}
{{- end }}
{{- if hasKey $source "every" }}
{{- include "marketplace-sidecar.problems.value" (dict "key" (printf "%s, every" $key) "value" $source.every "declared" .every) }}
{{- end }}
{{- range $part := list "match" "tags" }}
{{- range $label, $value := get $source $part | default dict }}
{{- if not (regexMatch "^[a-zA-Z_][a-zA-Z0-9_]*$" $label) }}
{{ $key }} has {{ $label | quote }} under {{ $part }}, which is not the name of a label; use letters, digits and _
{{- end }}
{{- if not (include "marketplace-sidecar.isPlain" (toString $value)) }}
{{ $key }} has no plain text for {{ $label }} under {{ $part }}; write it without space around it
{{- end }}
{{- end }}
{{- end }}
{{- include "marketplace-sidecar.problems.counter" . }}
{{- end }}

{{- define "marketplace-sidecar.problems.otlp" -}}
{{- $key := .key -}}
{{- if not (include "marketplace-sidecar.isPlain" (.source.metric | toString)) }}
{{ $key }} has no plain text as its metric; write the name without space around it
{{- end }}
{{- range $label, $value := .source.tags | default dict }}
{{- if not (include "marketplace-sidecar.isPlain" (toString $value)) }}
{{ $key }} has no plain text for {{ $label }} under tags; write it without space around it
{{- end }}
{{- end }}
{{- include "marketplace-sidecar.problems.counter" . }}
{{- end }}

{{/* What both have: a factor, and tags for labels. */}}
{{- define "marketplace-sidecar.problems.counter" -}}
{{- if hasKey .source "scale" }}
{{- if regexMatch "^0*([.]0*)?$" (.source.scale | toString) }}
{{ .key }} has the scale {{ .source.scale }}, which would bill nothing; write a positive decimal in quotes, such as "0.001"
{{- end }}
{{- end }}
{{- $tags := values (.source.tags | default dict) }}
{{- if lt (len (uniq $tags)) (len $tags) }}
{{ .key }} gives one tag key to two labels; give each label a tag key of its own
{{- end }}
{{- end }}

{{/* Takes what checkWorkload takes; `containers` are those of the pod, as Kubernetes writes them. */}}
{{- define "marketplace-sidecar.problems.resources" -}}
{{- $files := (include "marketplace-sidecar.resources" .context | fromYaml).files -}}
{{- $key := .context.Values.sidecar.productFromImage | ternary "sidecar.resourceFiles" "sidecar.config.metering.dimensions" -}}
{{- if and $files (not (hasKey . "containers")) }}
{{ $key }}: measures the resources of containers, and this chart does not name them; pass "containers" to marketplace-sidecar.checkWorkload
{{- else }}
{{- $containers := .containers }}
{{- range $file := $files }}
{{- $container := dict }}
{{- range $containers }}{{- if eq .name $file.container }}{{- $container = . }}{{- end }}{{- end }}
{{- $resources := $container.resources | default dict }}
{{- $limits := $resources.limits | default dict }}
{{- $requests := $resources.requests | default dict }}
{{- $limit := kindIs "invalid" (get $limits $file.what) | ternary "" (get $limits $file.what) | toString }}
{{- $unasked := or (not (hasKey $requests $file.what)) (kindIs "invalid" (get $requests $file.what)) }}
{{- $request := $unasked | ternary $limit (get $requests $file.what) | toString }}
{{- $amount := eq $file.by "limit" | ternary $limit $request }}
{{- if not $container }}
{{ $key }}: measures the container {{ $file.container }}, which the pod does not have; name one of its containers
{{- else if regexMatch "^[+-]?0*[.]?0*([eE][+-]?[0-9]+|[a-zA-Z]+)?$" $amount }}
{{ $key }}: measures the {{ $file.what }} {{ $file.by }} of container {{ $file.container }}, which has none, and Kubernetes would show the node's; set resources.{{ $file.by }}s.{{ $file.what }} of the container
{{- end }}
{{- end }}
{{- end }}
{{- end }}
