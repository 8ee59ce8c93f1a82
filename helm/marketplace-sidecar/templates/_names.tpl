{{/*
Names and labels. Every template here takes the root context of the chart that depends on this one, and reads
`.Values.sidecar`. The label is what the NetworkPolicy, the PodMonitor and a person select the pods by.
*/}}

{{/*
The name of the one product: the release's name, and for a product in an umbrella chart also the names of the charts on
the way to it, an alias in place of a name. At most 53 characters, as a release's name has. A digest keeps names apart
that were cut, have characters that Kubernetes refuses, or join in more than one way.
*/}}
{{- define "marketplace-sidecar.instance" -}}
{{- $path := splitList "/charts/" (trimSuffix "/templates" .Template.BasePath) | rest -}}
{{- $given := prepend $path .Release.Name | join "-" -}}
{{- $name := $given -}}
{{- if $path -}}
{{- $name = regexReplaceAll "[^a-z0-9]+" (lower $given) "-" -}}
{{- end -}}
{{- if or (gt (len $path) 1) (ne $name $given) (gt (len $name) 53) (hasSuffix "-" $name) -}}
{{- $digest := prepend $path .Release.Name | join "/" | sha256sum | trunc 8 -}}
{{- $name = printf "%s-%s" ($name | trunc 44 | trimSuffix "-") $digest -}}
{{- end -}}
{{- $name -}}
{{- end }}

{{- define "marketplace-sidecar.name" -}}
{{- printf "%s-marketplace" (include "marketplace-sidecar.instance" .) | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{/* Takes {own, further}: the latter is laid over the former. Each key comes once: strict readers of YAML refuse doubles. */}}
{{- define "marketplace-sidecar.joined" -}}
{{- $further := .further | default dict -}}
{{- range $key, $value := fromYaml .own }}
{{- if not (hasKey $further $key) }}
{{ $key }}: {{ quote $value }}
{{- end }}
{{- end }}
{{- with $further }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "marketplace-sidecar.podLabels" -}}
marketplace-sidecar/release: {{ include "marketplace-sidecar.instance" . | quote }}
{{- end }}

{{/*
The checksum restarts the pods when the configuration changes, or what EKS reads of the service account when it admits a pod, and
only then: a restart closes a metering hour.
*/}}
{{- define "marketplace-sidecar.podAnnotations" -}}
{{- include "marketplace-sidecar.check" . -}}
{{- $read := printf "%s%s" (include "marketplace-sidecar.configData" .) (include "marketplace-sidecar.admitted" .) -}}
marketplace-sidecar/config: {{ $read | sha256sum | trunc 16 | quote }}
{{- with .Values.sidecar.ledger }}
{{- if and (eq .volume "emptyDir") (.emptyDir).safeToEvict }}
cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes: marketplace-ledger
{{- end }}
{{- end }}
{{- end }}

{{/* What the webhook of EKS takes from the service account into a new pod; later changes do not reach that pod. */}}
{{- define "marketplace-sidecar.admitted" -}}
{{- if eq .Values.sidecar.serviceAccount.webIdentity "webhook" -}}
{{- range $name, $value := include "marketplace-sidecar.serviceAccountAnnotations" . | fromYaml -}}
{{- if hasPrefix "eks.amazonaws.com/" $name }}{{ $name }}={{ $value }};{{ end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "marketplace-sidecar.serviceAccountName" -}}
{{- .Values.sidecar.serviceAccount.name | default (include "marketplace-sidecar.name" .) -}}
{{- end }}

{{/* Takes {context, image}: the one registry, the repository, and the digest or else the tag. */}}
{{- define "marketplace-sidecar.image" -}}
{{- $registry := dig "registry" "" (.context.Values.global | default dict) -}}
{{- with $registry }}{{ . }}/{{ end -}}
{{- .image.repository -}}
{{- if .image.digest }}@{{ .image.digest }}{{ else if .image.tag }}:{{ .image.tag }}{{ end -}}
{{- end }}
