{{/*
Combinations of values that cannot work. The schema checks single values; these templates compare them with each other
and report all problems together, each in a sentence with key and cure. Of the cluster they read only the version.
*/}}

{{- define "marketplace-sidecar.check" -}}
{{- if not (kindIs "map" (get .Values "sidecar")) -}}
{{- fail "Chart.yaml: the dependency marketplace-sidecar has no alias: write `alias: sidecar` under it" -}}
{{- end -}}
{{- include "marketplace-sidecar.refuse" (include "marketplace-sidecar.problems" .) -}}
{{- end }}

{{- define "marketplace-sidecar.problems" -}}
{{- $invalid := include "marketplace-sidecar.problems.invalid" . }}
{{ $invalid }}
{{- if not $invalid }}
{{- range $part := list "plain" "seller" "product" "license" "metering" "sources" "identity" "pod" }}
{{ include (printf "marketplace-sidecar.problems.%s" $part) $ }}
{{- end }}
{{- end }}
{{- end }}

{{/* Problems of groups and keys by themselves. The others compare values with each other, and each must be valid. */}}
{{- define "marketplace-sidecar.problems.invalid" -}}
{{- $absent := include "marketplace-sidecar.problems.groups" . | trim }}
{{- if $absent }}{{ $absent }}
{{- else }}{{ include "marketplace-sidecar.problems.values" . | trim }}
{{- end }}
{{- end }}

{{/* Takes the problems, one on each line; fails if there is any. */}}
{{- define "marketplace-sidecar.refuse" -}}
{{- $problems := list -}}
{{- range splitList "\n" . -}}
{{- with trim . -}}{{- $problems = append $problems (printf "  - %s" .) -}}{{- end -}}
{{- end -}}
{{- if $problems -}}
{{- fail (printf "\n\n%s\n" (join "\n" (uniq $problems))) -}}
{{- end -}}
{{- end }}

{{- define "marketplace-sidecar.seconds" -}}
{{- $number := regexFind "^[0-9]+" (toString .) | int -}}
{{- $unit := dict "s" 1 "m" 60 "h" 3600 "d" 86400 -}}
{{- mul $number (get $unit (regexFind "[smhd]$" (toString .))) -}}
{{- end }}

{{- define "marketplace-sidecar.problems.product" -}}
{{- $sidecar := .Values.sidecar -}}
{{- $config := include "marketplace-sidecar.config" . | fromJson -}}
{{- $product := $config.product -}}
{{- $stray := omit $product "code" "pricing" "id" "public_key_version" "public_keys" "trusted_codes" }}
{{- if not $sidecar.productFromImage }}
{{- if $stray }}
product.yaml: has unknown keys: {{ keys $stray | sortAlpha | join ", " }}; it holds code, pricing, id, public_key_version, public_keys and trusted_codes
{{- end }}
{{- if not $product.code }}
sidecar.config.product.code: is missing{{ if $config.metering.dimensions }}, and the dimensions are reported under it{{ end }}; set the product code of the listing, or build it into the image and set sidecar.productFromImage
{{- else if and $product.trusted_codes (not (has $product.code $product.trusted_codes)) }}
sidecar.config.product.code: {{ $product.code }} is not one of trusted_codes; correct one of the two
{{- end }}
{{- $version := $product.public_key_version | default 1 | toString }}
{{- $check := include "marketplace-sidecar.checkInForce" $config }}
{{- if and (eq $check "register") (not (hasKey ($product.public_keys | default dict) $version)) }}
sidecar.config.product.public_keys: has no key of version {{ $version }}, which entitlement.check: register needs to verify signatures; add it with --set-file 'sidecar.config.product.public_keys.{{ $version }}=1.pem'
{{- end }}
{{- end }}
{{- end }}

{{/* The check of the entitlement in force; takes the configuration. */}}
{{- define "marketplace-sidecar.checkInForce" -}}
{{- $product := .product -}}
{{- if ne .entitlement.check "auto" -}}{{ .entitlement.check }}
{{- else if $product.pricing -}}{{ get (dict "hourly" "register" "custom" "meter" "contract" "license") $product.pricing }}
{{- else if $product.public_keys -}}register
{{- else -}}meter
{{- end -}}
{{- end }}

{{- define "marketplace-sidecar.problems.license" -}}
{{- $config := include "marketplace-sidecar.config" . | fromJson -}}
{{- $product := $config.product -}}
{{- $license := $config.license -}}
{{- $check := include "marketplace-sidecar.checkInForce" $config -}}
{{- if not .Values.sidecar.productFromImage }}
{{- $belonging := get (dict "hourly" "register" "custom" "meter" "contract" "license") ($product.pricing | default "") }}
{{- if and $belonging (not (has $check (list $belonging "none"))) }}
sidecar.config.entitlement.check: {{ $check }} is not the check of product.pricing: {{ $product.pricing }}; remove it (auto takes the check of the price), or correct product.pricing
{{- else if not $product.id }}
{{- if eq $check "license" }}
sidecar.config.product.id: is missing, and contract prices need it; set the product ID of the listing, such as prod-abcdefghijklm
{{- else if and (eq $check "meter") (eq $config.entitlement.probe "license") }}
sidecar.config.product.id: is missing, and entitlement.probe: license needs it; set the product ID of the listing, such as prod-abcdefghijklm
{{- end }}
{{- end }}
{{- range $key := list "require" "tiers" }}
{{- if and (get $license $key) (has $check (list "register" "meter")) }}
sidecar.config.license.{{ $key }}: is of a contract price, and the check in force is {{ $check }}; set product.pricing to contract, or remove it
{{- end }}
{{- end }}
{{- $names := list -}}
{{- range $license.require }}
{{- if has .name $names }}
sidecar.config.license.require: names {{ .name }} twice; name each entitlement once
{{- end }}
{{- $names = append $names .name }}
{{- if and .hold (has .name ($license.tiers | default list)) }}
sidecar.config.license.require: holds {{ .name }}, which is one of license.tiers, and a tier has no seats; remove hold, or take the name out of license.tiers
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "marketplace-sidecar.problems.metering" -}}
{{- $config := include "marketplace-sidecar.config" . | fromJson -}}
{{- $metering := $config.metering -}}
{{- if not .Values.sidecar.productFromImage }}
{{- $names := list -}}
{{- range $metering.dimensions }}
{{- if has .name $names }}
sidecar.config.metering.dimensions: names {{ .name }} twice; name each dimension once
{{- end }}
{{- $names = append $names .name }}
{{- end }}
{{- $entitlement := $config.entitlement }}
{{- $metered := eq (include "marketplace-sidecar.checkInForce" $config) "meter" }}
{{- if and $metered (not $metering.dimensions) (eq $entitlement.check "auto") (not $config.product.pricing) }}
sidecar.config.product.public_keys: has no key of version {{ $config.product.public_key_version | default 1 }}, which hourly prices need to verify signatures, and there is no dimension, which custom prices need; add one of the two, and set product.pricing
{{- else if and $metered (not $metering.dimensions) }}
sidecar.config.entitlement.check: meter asks AWS about metering.dimensions, which is empty; add a dimension for a custom price, or set product.pricing to hourly and add a public key
{{- end }}
{{- if and $entitlement.probe_dimension (not (has $entitlement.probe_dimension $names)) }}
sidecar.config.entitlement.probe_dimension: {{ $entitlement.probe_dimension }} is not one of metering.dimensions; name one of them, or remove the key to use the first
{{- end }}
{{- $window := include "marketplace-sidecar.seconds" $metering.window | int -}}
{{- $settle := include "marketplace-sidecar.seconds" $metering.settle | int -}}
{{- $spread := include "marketplace-sidecar.seconds" $metering.spread | int }}
{{- if ge (add 3600 $settle $spread) $window }}
sidecar.config.metering.window: {{ $metering.window }} closes before every hour is due, an hour plus settle ({{ $metering.settle }}) plus spread ({{ $metering.spread }}); raise it (up to 6h), or lower the others
{{- end }}
{{- end }}
{{- end }}

{{- define "marketplace-sidecar.problems.identity" -}}
{{- $sidecar := .Values.sidecar -}}
{{- $account := $sidecar.serviceAccount -}}
{{- $config := include "marketplace-sidecar.config" . | fromJson -}}
{{- $marketplace := $config.marketplace -}}
{{- $metered := or (ne (include "marketplace-sidecar.checkInForce" $config) "license") $config.metering.dimensions -}}
{{- $live := eq $marketplace.mode "live" }}
{{- $declared := include "marketplace-sidecar.declared" . | fromJson }}
{{- if and $live $marketplace.endpoint_url }}
sidecar.config.marketplace.endpoint_url: is for an emulator; remove it, or set marketplace.mode to emulator
{{- end }}
{{- if and (not $live) (not $marketplace.endpoint_url) }}
sidecar.config.marketplace.endpoint_url: is missing, and mode: emulator needs it; set the emulator's address, such as http://emulator:8789
{{- end }}
{{- if and $live $account.create (not $account.roleArn) $metered }}
sidecar.serviceAccount.roleArn: is missing; set the IAM role of the service account (IRSA). Marketplace takes no EKS Pod Identity, no node role and no static keys{{ if $sidecar.productFromImage }}. For a contract price without dimensions, which takes EKS Pod Identity, set create to false and name the account{{ end }}
{{- end }}
{{- if and (not $account.create) (not $account.name) }}
sidecar.serviceAccount.name: is missing, and create is false; name the service account that has the eks.amazonaws.com/role-arn annotation
{{- end }}
{{- if hasKey ($account.annotations | default dict) "eks.amazonaws.com/role-arn" }}
sidecar.serviceAccount.annotations: contains eks.amazonaws.com/role-arn; set sidecar.serviceAccount.roleArn instead
{{- end }}
{{- if eq $account.webIdentity "chart" }}
{{- if not $account.roleArn }}
sidecar.serviceAccount.roleArn: is missing, and webIdentity: chart needs it for the pod; set it, or set webIdentity to webhook
{{- end }}
{{- if and $live (not $marketplace.region) }}
sidecar.config.marketplace.region: is missing, and with webIdentity: chart no webhook sets it; set the cluster's own Region
{{- end }}
{{- end }}
{{- range $sidecar.extraEnv }}
{{- if and $live (has .name (list "AWS_ACCESS_KEY_ID" "AWS_SECRET_ACCESS_KEY" "AWS_SESSION_TOKEN" "AWS_PROFILE" "AWS_CONTAINER_CREDENTIALS_FULL_URI" "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")) }}
sidecar.extraEnv: {{ .name }} hides the service account's role, and Marketplace takes nothing else; remove it
{{- end }}
{{- $flat := include "marketplace-sidecar.flatName" .name }}
{{- /* What other objects, the pod or the checks above depend on. */}}
{{- if or (hasPrefix "POD_" .name) (eq .name "AWS_ROLE_SESSION_NAME") (regexMatch "^sidecar((config|apihost|apiport)$|ledger|probes|shutdown|kubernetes)" $flat) }}
sidecar.extraEnv: {{ .name }} is the chart's own; use the key under sidecar.{{ hasPrefix "sidecarledger" $flat | ternary "ledger" "config" }}, or remove it
{{- else if and (regexMatch "^[!-~]+$" .name) (not (include "marketplace-sidecar.sellersShare" $flat)) }}
{{- include "marketplace-sidecar.problems.variable" (dict "variable" . "flat" $flat "declared" $declared) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "marketplace-sidecar.problems.pod" -}}
{{- $sidecar := .Values.sidecar -}}
{{- $config := include "marketplace-sidecar.config" . | fromJson -}}
{{- if and (eq $sidecar.mode "native") (semverCompare "<1.29.0-0" .Capabilities.KubeVersion.Version) }}
sidecar.mode: native needs Kubernetes 1.29, and this is {{ .Capabilities.KubeVersion.Version }}; use plain
{{- end }}
{{- $least := add 5 (include "marketplace-sidecar.seconds" $config.shutdown.timeout) }}
{{- if lt (int $sidecar.terminationGracePeriodSeconds) (int $least) }}
sidecar.terminationGracePeriodSeconds: {{ $sidecar.terminationGracePeriodSeconds }} is shorter than shutdown.timeout ({{ $config.shutdown.timeout }}) plus 5 seconds; set {{ $least }} or more, or lower shutdown.timeout
{{- end }}
{{- if eq (int $config.api.port) (int $config.probes.port) }}
sidecar.config.probes.port: {{ $config.probes.port }} is api.port too; set two different ports
{{- end }}
{{- if regexMatch "^(localhost|127[.].*|[0:]*:0*1)$" $config.probes.host }}
sidecar.config.probes.host: {{ $config.probes.host }} is unreachable for the kubelet, which uses the pod's address; use 0.0.0.0, which covers IPv6 too
{{- end }}
{{- if and ($config.kubernetes).readiness_gate (not ($config.kubernetes).enabled) }}
sidecar.config.kubernetes.readiness_gate: with kubernetes.enabled: false the sidecar does not set {{ $config.kubernetes.readiness_gate }}, and the pod would never be Ready; enable it, or remove the gate
{{- end }}
{{- if and (eq $sidecar.ledger.volume "existingClaim") (not $sidecar.ledger.existingClaim) }}
sidecar.ledger.existingClaim: is missing, and ledger.volume is existingClaim; name the claim, or use emptyDir
{{- end }}
{{- if and (eq $sidecar.ledger.volume "claimTemplate") (not ($sidecar.ledger.claimTemplate).size) }}
sidecar.ledger.claimTemplate.size: is missing, and ledger.volume is claimTemplate; set it, such as 1Gi
{{- end }}
{{- $mounts := list "/var/lib/marketplace-sidecar" }}
{{- range $sidecar.extraVolumeMounts }}{{- $mounts = append $mounts (include "marketplace-sidecar.inPod" .mountPath) }}{{- end }}
{{- /* Of a token file the sidecar itself reports the absence: a webhook may mount it. */}}
{{- $socket := $config.api.socket | default "" }}
{{- $mounted := false }}
{{- range $mounts }}{{- $mounted = or $mounted (hasPrefix (printf "%s/" (trimSuffix "/" .)) (clean $socket)) }}{{- end }}
{{- if and $socket (not $mounted) ($sidecar.securityContext).readOnlyRootFilesystem }}
sidecar.config.api.socket: {{ $socket }} is on no volume of the sidecar, which would not start; add the volume and its mount to sidecar.extraVolumes and sidecar.extraVolumeMounts
{{- end }}
{{- $volume := include "marketplace-sidecar.ledgerVolume" $sidecar.ledger }}
{{- $key := ternary "emptyDir.sizeLimit" "claimTemplate.size" (eq $sidecar.ledger.volume "emptyDir") }}
{{- if and $volume (lt (int64 $volume) 8192) }}
sidecar.ledger.{{ $key }}: is too small for a ledger; set at least 8Mi
{{- end }}
{{- with $sidecar.ledger.maxSize }}
{{- $size := int64 (include "marketplace-sidecar.kibibytes" (trimSuffix "B" .)) }}
{{- if lt $size 4096 }}
sidecar.ledger.maxSize: {{ . }} is too small for a ledger; set at least 4MiB, or null
{{- /* The claim of a StatefulSet may have grown beyond its template, and the sidecar itself stays below what is free. */}}
{{- else if and $volume (eq $sidecar.ledger.volume "emptyDir") (ge $size (int64 $volume)) }}
sidecar.ledger.maxSize: {{ . }} leaves no room on a volume of emptyDir.sizeLimit, and the pod would be evicted; set less, or null for 7/8 of it
{{- end }}
{{- end }}
{{- if and ($sidecar.networkPolicy).enabled (eq $config.marketplace.mode "emulator") (not $sidecar.networkPolicy.egress) }}
sidecar.networkPolicy.egress: blocks traffic to the emulator at {{ $config.marketplace.endpoint_url }}; add a rule for its port, or disable the policy
{{- end }}
{{- end }}

{{/*
All of the above, and what depends on the workload. Takes {context, kind, replicas, strategy, containers, problems}:
replicas are pods at one time, null if an autoscaler decides; strategy is the Deployment's, containers are those of the
pod, and problems are those that the calling chart found.
*/}}
{{- define "marketplace-sidecar.checkWorkload" -}}
{{- $problems := list (include "marketplace-sidecar.problems" .context) (include "marketplace-sidecar.problems.workload" .) (.problems | default "") -}}
{{- include "marketplace-sidecar.refuse" (join "\n" $problems) -}}
{{- end }}

{{- define "marketplace-sidecar.problems.workload" -}}
{{- $sidecar := .context.Values.sidecar -}}
{{- $volume := ($sidecar.ledger).volume | default "" -}}
{{- $waits := false -}}
{{- $valid := not (include "marketplace-sidecar.problems.invalid" .context) -}}
{{- if $valid -}}
{{- $config := include "marketplace-sidecar.config" .context | fromJson -}}
{{- $waits = and (eq (($config).license).on_taken "wait") (eq (include "marketplace-sidecar.checkInForce" $config) "license") -}}
{{- end -}}
{{- $surges := not (has (.surge | toString) (list "0" "0%")) -}}
{{- if not (hasKey . "surge") -}}
{{- /* What Kubernetes does by itself. */ -}}
{{- $surges = eq .kind "Deployment" -}}
{{- end -}}
{{- if and $waits $surges (has .kind (list "Deployment" "DaemonSet")) (eq (.strategy | default "RollingUpdate") "RollingUpdate") }}
sidecar.config.license.on_taken: wait keeps the new pod of a rolling update from starting while the old one has the seat; set {{ eq .kind "Deployment" | ternary "strategy.type to Recreate or " "" }}strategy.rollingUpdate.maxSurge to 0, or use admit
{{- end }}
{{- if $valid }}
{{- include "marketplace-sidecar.problems.resources" . }}
{{- end }}
{{- if and (has .kind (list "Job" "CronJob")) (eq $sidecar.mode "plain") }}
sidecar.mode: a Job never completes while a plain sidecar container runs; use native, on Kubernetes 1.29 or newer
{{- end }}
{{- if and (eq $volume "claimTemplate") (ne .kind "StatefulSet") }}
sidecar.ledger.volume: claimTemplate needs a StatefulSet, and this is a {{ .kind }}; use kind StatefulSet, or emptyDir
{{- end }}
{{- if eq $volume "existingClaim" }}
{{- if eq .kind "DaemonSet" }}
sidecar.ledger.volume: existingClaim is one ledger for the pods of all nodes, and a ledger serves one pod; use emptyDir
{{- else if and (has .kind (list "Deployment" "StatefulSet")) (kindIs "invalid" .replicas) }}
sidecar.ledger.volume: existingClaim is one ledger, and an autoscaler may start several pods; set replicas to 1, or use a StatefulSet with claimTemplate
{{- else if gt (int .replicas) 1 }}
sidecar.ledger.volume: existingClaim is one ledger for {{ .replicas }} pods, and a ledger serves one; use one replica, or a StatefulSet with claimTemplate
{{- else if and (eq .kind "Deployment") (ne .strategy "Recreate") }}
sidecar.ledger.volume: existingClaim cannot be mounted by the new pod while the old one of a rolling update has it; set strategy.type to Recreate, or use a StatefulSet with claimTemplate
{{- end }}
{{- end }}
{{- end }}
