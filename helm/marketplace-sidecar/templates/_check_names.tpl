{{/*
Groups and keys that cannot be null, and names that the API server refuses. Both are found when the chart renders: otherwise the
first shows as a fault of a template, the second only after half of the release is installed.
*/}}

{{- define "marketplace-sidecar.problems.groups" -}}
{{- $sidecar := .Values.sidecar -}}
{{- range $group := list "config" "image" "ledger" "serviceAccount" }}
{{- if kindIs "invalid" (get $sidecar $group | default nil) }}
sidecar.{{ $group }}: is null, and the sidecar cannot run without it; remove the line to use the chart's defaults
{{- end }}
{{- end }}
{{- $needed := dict "mode" $sidecar.mode "productFromImage" $sidecar.productFromImage "terminationGracePeriodSeconds" $sidecar.terminationGracePeriodSeconds }}
{{- range $path := list "image.repository" "ledger.volume" "serviceAccount.create" "serviceAccount.webIdentity" }}
{{- $group := get $sidecar (splitList "." $path | first) }}
{{- if $group }}{{- $_ := set $needed $path (get $group (splitList "." $path | last)) }}{{- end }}
{{- end }}
{{- range $path, $value := $needed }}
{{- if or (kindIs "invalid" $value) (eq (toString $value) "") }}
sidecar.{{ $path }}: is null, and the chart depends on it; remove the line to use the chart's default
{{- end }}
{{- end }}
{{- /* Alone: what depends on the configuration would judge another one than the seller's. */}}
{{- if and (not $sidecar.productFromImage) (include "marketplace-sidecar.fromImage" .) }}
sidecar.productFromImage: the chart's product.yaml leaves the configuration to the image; set this to true
{{- end }}
{{- range $group := list "api" "entitlement" "license" "log" "marketplace" "metering" "probes" "product" "shutdown" }}
{{- if and $sidecar.config (not (kindIs "map" (get $sidecar.config $group))) }}
sidecar.config.{{ $group }}: is null, and only config.kubernetes can be switched off that way; remove the line to use the chart's defaults
{{- end }}
{{- end }}
{{- end }}

{{/*
Takes {name, kind, service, key}: the name of a workload, whether a Service has it too, and the value that changes it.
Renders the problem, or nothing.
*/}}
{{- define "marketplace-sidecar.problems.name" -}}
{{- $given := printf "%s: the name %s" .key .name -}}
{{- if and .service (not (regexMatch "^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$" .name)) }}
{{ $given }} is refused for a Service, which takes up to 63 lower-case letters, digits and hyphens and begins with a letter; set {{ .key }} to such a name
{{- else if and (has .kind (list "StatefulSet" "CronJob")) (not (regexMatch "^[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?$" .name)) }}
{{ $given }} is refused for {{ eq .kind "CronJob" | ternary "the Jobs of a CronJob" "the pods of a StatefulSet" }}, which takes up to 52 lower-case letters, digits and hyphens; set {{ .key }} to such a name
{{- else if or (gt (len .name) 63) (not (regexMatch "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$" .name)) }}
{{ $given }} is refused for a {{ .kind }}, which takes up to 63 lower-case letters, digits, hyphens and dots and begins and ends with a letter or digit; set {{ .key }} to such a name
{{- end }}
{{- end }}
