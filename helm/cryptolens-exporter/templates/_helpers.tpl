{{/*
`helm upgrade --reuse-values` brings the values of the chart that was installed, without those that are new since. Included
first in every template.
*/}}
{{- define "cryptolens-exporter.defaults" -}}
{{- $defaults := include "cryptolens-exporter.newValues" . | fromYaml -}}
{{- range $key, $value := $defaults -}}
{{- if kindIs "invalid" (index $.Values $key) -}}
{{- $_ := set $.Values $key $value -}}
{{- else if kindIs "map" $value -}}
{{- $section := index $.Values $key -}}
{{- range $name, $default := $value -}}
{{- if kindIs "invalid" (index $section $name) -}}
{{- $_ := set $section $name $default -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- /* A key without a value says nothing, as where everything below it is a comment. */ -}}
{{- range $key, $value := deepCopy $.Values.config -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := unset $.Values.config $key -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "cryptolens-exporter.newValues" -}}
enabled: true
global: {}
storage: {}
otlp: {}
replicas: 1
history: { remoteWrite: [], otlp: false, window: "", labels: "", outboxLimit: 0 }
usage: { active: false, seats: false, secret: "", secretKey: secret }
openshift: { adapt: auto }
service: { labels: {} }
serviceMonitor: { job: cryptolens-exporter, additionalLabels: {} }
podMonitor: { enabled: false }
prometheusRule: { additionalLabels: {} }
{{- end -}}

{{- define "cryptolens-exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/*
At most 52 characters: a StatefulSet appends a hash to make its controller revisions. A release may have dots in its name,
a Service may not.
*/}}
{{- define "cryptolens-exporter.fullname" -}}
{{- $name := include "cryptolens-exporter.name" . -}}
{{- $fullname := printf "%s-%s" .Release.Name $name -}}
{{- if .Values.fullnameOverride -}}
{{- $fullname = .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- $fullname = .Release.Name -}}
{{- end -}}
{{- $fullname | lower | replace "." "-" | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "cryptolens-exporter.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{/* Maps in one, the later before the earlier: no reader takes a key twice. */}}
{{- define "cryptolens-exporter.merged" -}}
{{- $merged := dict -}}
{{- range . -}}
{{- range $key, $value := . -}}
{{- $_ := set $merged $key $value -}}
{{- end -}}
{{- end -}}
{{- toYaml $merged -}}
{{- end -}}

{{- define "cryptolens-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "cryptolens-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* The labels of a resource: a list of the root and maps of further labels. What is selected by cannot be changed. */}}
{{- define "cryptolens-exporter.labelsWith" -}}
{{- $root := first . -}}
{{- $own := dict
  "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_")
  "app.kubernetes.io/version" $root.Chart.AppVersion
  "app.kubernetes.io/managed-by" $root.Release.Service
-}}
{{- $selected := include "cryptolens-exporter.selectorLabels" $root | fromYaml -}}
{{- include "cryptolens-exporter.merged" (concat (list $own $root.Values.commonLabels) (rest .) (list $selected)) -}}
{{- end -}}

{{- define "cryptolens-exporter.labels" -}}
{{- include "cryptolens-exporter.labelsWith" (list .) -}}
{{- end -}}

{{- define "cryptolens-exporter.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "cryptolens-exporter.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* A registry takes the place of the one in the repository, whose first part is one if it could be a host. */}}
{{- define "cryptolens-exporter.image" -}}
{{- $repository := .Values.image.repository -}}
{{- with default .Values.image.registry .Values.global.imageRegistry -}}
{{- $parts := splitList "/" $repository -}}
{{- if and (gt (len $parts) 1) (regexMatch "[.:]|^localhost$" (first $parts)) -}}
{{- $repository = rest $parts | join "/" -}}
{{- end -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) $repository -}}
{{- end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Names of pull secrets, each once. Of global ones other charts write the name alone. */}}
{{- define "cryptolens-exporter.imagePullSecrets" -}}
{{- $names := list -}}
{{- range concat (default list .Values.global.imagePullSecrets) .Values.imagePullSecrets -}}
{{- $names = append $names (kindIs "string" . | ternary (dict "name" .) .) -}}
{{- end -}}
{{- with uniq $names -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/* The port of a URL: what it names, else that of its scheme. */}}
{{- define "cryptolens-exporter.port" -}}
{{- $url := urlParse . -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- if $port -}}{{ $port }}{{- else if eq $url.scheme "http" -}}80{{- else -}}443{{- end -}}
{{- end -}}

{{- define "cryptolens-exporter.openshift" -}}
{{- if or (eq .Values.openshift.adapt "enabled") (and (eq .Values.openshift.adapt "auto") (.Capabilities.APIVersions.Has "security.openshift.io/v1")) -}}
true
{{- end -}}
{{- end -}}

{{/* OpenShift assigns ids and refuses others. A list of the root and a security context. */}}
{{- define "cryptolens-exporter.securityContext" -}}
{{- $context := last . | default dict -}}
{{- if include "cryptolens-exporter.openshift" (first .) -}}
{{- $context = omit $context "runAsUser" "runAsGroup" "fsGroup" -}}
{{- end -}}
{{- toYaml $context -}}
{{- end -}}

{{/* The Secret with tokens, if one is to be mounted. */}}
{{- define "cryptolens-exporter.tokenSecret" -}}
{{- if not .Values.demo -}}
{{- if and .Values.token.existingSecret .Values.token.value -}}
{{- fail "\n\ntoken.existingSecret and token.value are two tokens: set one of them." -}}
{{- end -}}
{{- if .Values.token.value -}}
{{- include "cryptolens-exporter.fullname" . -}}
{{- else -}}
{{- .Values.token.existingSecret -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The token of the one account, if it comes from that Secret. */}}
{{- define "cryptolens-exporter.tokenFile" -}}
{{- $config := .Values.config -}}
{{- $elsewhere := or $config.accounts (dig "api" "token_file" "" $config) .Values.extraEnvFrom -}}
{{- range .Values.extraEnv -}}
{{- if has .name (list "CRYPTOLENS_TOKEN" "CRYPTOLENS_TOKEN_FILE" "CRYPTOLENS_CONFIG_FILE") -}}
{{- $elsewhere = true -}}
{{- end -}}
{{- if and (eq .name "CRYPTOLENS_TOKEN") (not $config.accounts) (or $.Values.token.existingSecret $.Values.token.value) (not $.Values.demo) -}}
{{- fail "\n\ntoken.existingSecret or token.value, and CRYPTOLENS_TOKEN in extraEnv, are two tokens: set one of them." -}}
{{- end -}}
{{- end -}}
{{- range .Values.extraArgs -}}
{{- if regexMatch "^--(api\\.token-file|config\\.file)(=|$)" (toString .) -}}
{{- $elsewhere = true -}}
{{- end -}}
{{- end -}}
{{- if not (or .Values.demo $config.accounts) -}}
{{- if include "cryptolens-exporter.tokenSecret" . -}}
/etc/cryptolens-exporter/tokens/{{ .Values.token.key }}
{{- else if not $elsewhere -}}
{{- fail "\n\ntoken.existingSecret is missing. Make a Secret that holds an access token:\n\n  kubectl create secret generic cryptolens --from-file=token=PATH\n\nand set token.existingSecret=cryptolens. To look around without an account, set demo=true." -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
The exporter's configuration file: `config`, completed by the values that have a name of their own here. Nothing is passed
that is a default of the exporter.
*/}}
{{- define "cryptolens-exporter.config" -}}
{{- $shorthands := list (list "storage" "path" "/var/lib/cryptolens-exporter") -}}
{{- if ne .Values.api.url "https://api.cryptolens.io/api" -}}
{{- $shorthands = append $shorthands (list "api" "url" .Values.api.url) -}}
{{- end -}}
{{- with include "cryptolens-exporter.tokenFile" . -}}
{{- $shorthands = append $shorthands (list "api" "token_file" .) -}}
{{- end -}}
{{- with .Values.storage.foreignLedger -}}
{{- if ne . "refuse" -}}
{{- $shorthands = append $shorthands (list "storage" "foreign_ledger" .) -}}
{{- end -}}
{{- end -}}
{{- if ne .Values.log.level "info" -}}
{{- $shorthands = append $shorthands (list "log" "level" .Values.log.level) -}}
{{- end -}}
{{- if ne .Values.log.format "logfmt" -}}
{{- $shorthands = append $shorthands (list "log" "format" .Values.log.format) -}}
{{- end -}}
{{- $shorthands = concat $shorthands (include "cryptolens-exporter.otlpShorthands" . | fromYamlArray) -}}
{{- $shorthands = concat $shorthands (include "cryptolens-exporter.historyShorthands" . | fromYamlArray) -}}
{{- $shorthands = concat $shorthands (include "cryptolens-exporter.usageShorthands" . | fromYamlArray) -}}
{{- if .Values.archive.existingClaim -}}
{{- $shorthands = append $shorthands (list "archive" "path" "/var/lib/cryptolens-archive") -}}
{{- if .Values.archive.keySecret -}}
{{- $shorthands = append $shorthands (list "archive" "key_file" "/etc/cryptolens-exporter/archive-key/archive.key") -}}
{{- end -}}
{{- end -}}
{{- $config := deepCopy .Values.config -}}
{{- range $shorthands -}}
{{- $section := index $config (first .) | default dict -}}
{{- if not (hasKey $section (index . 1)) -}}
{{- $_ := set $section (index . 1) (last .) -}}
{{- end -}}
{{- $_ := set $config (first .) $section -}}
{{- end -}}
{{- if and (ne .Values.since "now") (not (hasKey $config "since")) -}}
{{- $_ := set $config "since" .Values.since -}}
{{- end -}}
{{- if and (ne (sortAlpha .Values.logs | join ",") "events,objects,web_api") (not (hasKey $config "logs")) -}}
{{- $_ := set $config "logs" .Values.logs -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* Section and key of the file, name in `otlp` here, and value, of each `otlp` value that is no default of the exporter. */}}
{{- define "cryptolens-exporter.otlpShorthands" -}}
{{- $shorthands := list -}}
{{- range list
  (list "endpoint" "endpoint" "")
  (list "interval" "interval" "60s")
  (list "timeout" "timeout" "10s")
  (list "pushTimeout" "push_timeout" "30s")
  (list "compression" "compression" "gzip")
  (list "serviceName" "service_name" "cryptolens-exporter")
  (list "resourceAttributes" "resource_attributes" "")
-}}
{{- $value := index $.Values.otlp (first .) -}}
{{- if and $value (ne $value (last .)) -}}
{{- $shorthands = append $shorthands (list "otlp" (index . 1) (first .) $value) -}}
{{- end -}}
{{- end -}}
{{- if .Values.otlp.caSecret -}}
{{- $shorthands = append $shorthands (list "otlp" "ca_file" "caSecret" "/etc/cryptolens-exporter/otlp-ca/ca.crt") -}}
{{- end -}}
{{- if .Values.otlp.clientCertificateSecret -}}
{{- $shorthands = append $shorthands (list "otlp" "cert_file" "clientCertificateSecret" "/etc/cryptolens-exporter/otlp-client/tls.crt") -}}
{{- $shorthands = append $shorthands (list "otlp" "key_file" "clientCertificateSecret" "/etc/cryptolens-exporter/otlp-client/tls.key") -}}
{{- end -}}
{{- toYaml $shorthands -}}
{{- end -}}

{{/* Section and key of the file, name in `usage` here, and value, of each `usage` value that is no default of the exporter. */}}
{{- define "cryptolens-exporter.usageShorthands" -}}
{{- $shorthands := list -}}
{{- if .Values.usage.active -}}
{{- $shorthands = append $shorthands (list "usage" "active" "active" true) -}}
{{- end -}}
{{- if .Values.usage.seats -}}
{{- $shorthands = append $shorthands (list "usage" "seats" "seats" true) -}}
{{- end -}}
{{- if .Values.usage.secret -}}
{{- $shorthands = append $shorthands (list "usage" "secret_file" "secret" (printf "/etc/cryptolens-exporter/usage/%s" .Values.usage.secretKey)) -}}
{{- end -}}
{{- toYaml $shorthands -}}
{{- end -}}

{{/* The volume of the Secret of usage. */}}
{{- define "cryptolens-exporter.usageVolumes" -}}
{{- include "cryptolens-exporter.secretVolumes" (dict "usage" (.Values.demo | ternary "" .Values.usage.secret)) -}}
{{- end -}}

{{/* Section and key of the file, name in `history` here, and value, of each `history` value that is no default of the exporter. */}}
{{- define "cryptolens-exporter.historyShorthands" -}}
{{- $history := .Values.history -}}
{{- $given := .Values.config.history | default dict -}}
{{- $shorthands := list -}}
{{- if $history.remoteWrite -}}
{{- $shorthands = append $shorthands (list "history" "remote_write" "remoteWrite" (include "cryptolens-exporter.historyTargets" . | fromYamlArray)) -}}
{{- end -}}
{{- if $history.otlp -}}
{{- $shorthands = append $shorthands (list "history" "otlp" "otlp" true) -}}
{{- end -}}
{{- if $history.window -}}
{{- $shorthands = append $shorthands (list "history" "window" "window" $history.window) -}}
{{- end -}}
{{- if $history.outboxLimit -}}
{{- $shorthands = append $shorthands (list "history" "outbox_limit" "outboxLimit" (int64 $history.outboxLimit)) -}}
{{- end -}}
{{- if or $history.labels $history.remoteWrite $history.otlp $given.remote_write $given.otlp -}}
{{- /* Pods of two namespaces may have the same name: without a label their samples would be of the same series. */ -}}
{{- $labels := list (printf "namespace=%s" (include "cryptolens-exporter.namespace" .)) -}}
{{- $job := .Values.podMonitor.enabled | ternary .Values.podMonitor.job .Values.serviceMonitor.job -}}
{{- with $job -}}
{{- $labels = append $labels (printf "job=%s" .) -}}
{{- end -}}
{{- with $history.labels -}}
{{- $own := list -}}
{{- range splitList "," . -}}
{{- $own = append $own (splitList "=" . | first) -}}
{{- end -}}
{{- $kept := list -}}
{{- range $labels -}}
{{- if not (has (splitList "=" . | first) $own) -}}
{{- $kept = append $kept . -}}
{{- end -}}
{{- end -}}
{{- $labels = append $kept . -}}
{{- end -}}
{{- $shorthands = append $shorthands (list "history" "labels" "labels" (join "," $labels)) -}}
{{- end -}}
{{- toYaml $shorthands -}}
{{- end -}}

{{/* history.remoteWrite as the file has it: keys of a Secret become the files of its mount. */}}
{{- define "cryptolens-exporter.historyTargets" -}}
{{- $targets := list -}}
{{- range $index, $given := .Values.history.remoteWrite -}}
{{- $folder := printf "/etc/cryptolens-exporter/history-%d" $index -}}
{{- $target := dict "url" .url -}}
{{- with .name -}}{{- $_ := set $target "name" . -}}{{- end -}}
{{- with .timeout -}}{{- $_ := set $target "remote_timeout" . -}}{{- end -}}
{{- with .headers -}}{{- $_ := set $target "headers" . -}}{{- end -}}
{{- $needs := list -}}
{{- with .basicAuth -}}
{{- $needs = append $needs "basicAuth" -}}
{{- $_ := set $target "basic_auth" (dict "username" .username "password_file" (printf "%s/%s" $folder (default "password" .passwordKey))) -}}
{{- end -}}
{{- with .authorization -}}
{{- $needs = append $needs "authorization" -}}
{{- $authorization := dict "credentials_file" (printf "%s/%s" $folder (default "token" .credentialsKey)) -}}
{{- with .type -}}{{- $_ := set $authorization "type" . -}}{{- end -}}
{{- $_ := set $target "authorization" $authorization -}}
{{- end -}}
{{- with .tlsConfig -}}
{{- $tls := dict -}}
{{- range $name, $key := dict "caKey" "ca_file" "certKey" "cert_file" "keyKey" "key_file" -}}
{{- with index $given.tlsConfig $name -}}
{{- $needs = append $needs "tlsConfig" -}}
{{- $_ := set $tls $key (printf "%s/%s" $folder .) -}}
{{- end -}}
{{- end -}}
{{- with .serverName -}}{{- $_ := set $tls "server_name" . -}}{{- end -}}
{{- with .insecureSkipVerify -}}{{- $_ := set $tls "insecure_skip_verify" . -}}{{- end -}}
{{- $_ := set $target "tls_config" $tls -}}
{{- end -}}
{{- if and $needs (not .secret) -}}
{{- fail (printf "\n\nhistory.remoteWrite[%d].%s names keys of a Secret: set history.remoteWrite[%d].secret to its name." $index (first $needs) $index) -}}
{{- end -}}
{{- $targets = append $targets $target -}}
{{- end -}}
{{- toYaml $targets -}}
{{- end -}}

{{/* Volumes of the Secrets of history.remoteWrite. */}}
{{- define "cryptolens-exporter.historyVolumes" -}}
{{- $secrets := dict -}}
{{- if not .Values.demo -}}
{{- range $index, $_ := .Values.history.remoteWrite -}}
{{- $_ := set $secrets (printf "history-%d" $index) .secret -}}
{{- end -}}
{{- end -}}
{{- include "cryptolens-exporter.secretVolumes" $secrets -}}
{{- end -}}

{{/* The volume of the Secret with the key of the archive. */}}
{{- define "cryptolens-exporter.archiveVolumes" -}}
{{- $secrets := dict -}}
{{- if and .Values.archive.existingClaim .Values.archive.keySecret (not .Values.demo) -}}
{{- $_ := set $secrets "archive-key" .Values.archive.keySecret -}}
{{- end -}}
{{- include "cryptolens-exporter.secretVolumes" $secrets -}}
{{- end -}}

{{/* URLs that the history is written to in the end: a flag or a variable takes the place of the list in the file. */}}
{{- define "cryptolens-exporter.historyUrls" -}}
{{- $urls := list -}}
{{- $typed := include "cryptolens-exporter.setting" (list . "history.remote-write.url" "CRYPTOLENS_HISTORY_REMOTE_WRITE_URL" "" "" "") -}}
{{- if $typed -}}
{{- $urls = list $typed -}}
{{- else -}}
{{- range dig "history" "remote_write" list (include "cryptolens-exporter.config" . | fromYaml) -}}
{{- $urls = append $urls .url -}}
{{- end -}}
{{- end -}}
{{- toYaml $urls -}}
{{- end -}}

{{/* The number of replicas; several are refused where they would not count the same rows. */}}
{{- define "cryptolens-exporter.replicas" -}}
{{- $replicas := int64 .Values.replicas -}}
{{- if gt $replicas 1 -}}
{{- if .Values.archive.existingClaim -}}
{{- fail "\n\nreplicas is above 1, and archive.existingClaim is one archive, which one exporter writes: leave it empty and install a second release with replicas=1 for the archive, or set replicas=1." -}}
{{- end -}}
{{- if .Values.demo -}}
{{- fail "\n\nreplicas is above 1, and each demo invents traffic of its own: set replicas=1." -}}
{{- end -}}
{{- if and .Values.persistence.enabled .Values.persistence.existingClaim -}}
{{- fail "\n\nreplicas is above 1, and persistence.existingClaim is one claim: each replica needs a ledger of its own. Leave it empty, or set replicas=1." -}}
{{- end -}}
{{- $all := list (include "cryptolens-exporter.setting" (list . "since" "CRYPTOLENS_SINCE" "" "since" "now")) -}}
{{- range .Values.config.accounts -}}
{{- with .since -}}
{{- $all = append $all (toString .) -}}
{{- end -}}
{{- end -}}
{{- range $all -}}
{{- if not (regexMatch "^[0-9]{4}-[0-9]{2}-[0-9]{2}" .) -}}
{{- fail (printf "\n\nreplicas is above 1, and since is %q: replicas that start at different times would count different rows. Set since to a date or a time, such as since=\"2026-01-31\" or since=\"2026-01-31T08:00:00Z\", or set replicas=1." .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $replicas -}}
{{- end -}}

{{/*
Variables of the push: the headers, which are secret and so in no ConfigMap, and for the demo, which takes no file, all that
the file would say but the endpoint, which is a flag.
*/}}
{{- define "cryptolens-exporter.otlpEnv" -}}
{{- $env := list -}}
{{- $config := include "cryptolens-exporter.config" . | fromYaml -}}
{{- if .Values.demo -}}
{{- range list
  (list "headers" "OTEL_EXPORTER_OTLP_HEADERS")
  (list "timeout" "OTEL_EXPORTER_OTLP_TIMEOUT")
  (list "compression" "OTEL_EXPORTER_OTLP_COMPRESSION")
  (list "ca_file" "OTEL_EXPORTER_OTLP_CERTIFICATE")
  (list "cert_file" "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE")
  (list "key_file" "OTEL_EXPORTER_OTLP_CLIENT_KEY")
  (list "interval" "OTEL_METRIC_EXPORT_INTERVAL")
  (list "push_timeout" "OTEL_METRIC_EXPORT_TIMEOUT")
  (list "resource_attributes" "OTEL_RESOURCE_ATTRIBUTES")
  (list "service_name" "OTEL_SERVICE_NAME")
-}}
{{- $value := dig "otlp" (first .) "" $config | toString -}}
{{- if and $value (has (first .) (list "timeout" "interval" "push_timeout")) -}}
{{- /* The variables have no units: milliseconds. */ -}}
{{- if not (regexMatch "^([0-9]+(ms|s|m|h|d))+$" $value) -}}
{{- fail (printf "\n\nconfig.otlp.%s is %q; for the demo write a duration such as 15s or 1m30s." (first .) $value) -}}
{{- end -}}
{{- $value = include "cryptolens-exporter.milliseconds" $value -}}
{{- end -}}
{{- if $value -}}
{{- $env = append $env (dict "name" (last .) "value" $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with .Values.otlp.headersSecret -}}
{{- $env = append $env (dict "name" "OTEL_EXPORTER_OTLP_HEADERS" "valueFrom" (dict "secretKeyRef" (dict "name" . "key" (default "headers" $.Values.otlp.headersKey)))) -}}
{{- end -}}
{{- toYaml $env -}}
{{- end -}}

{{/* Where metrics are pushed to in the end; empty if nowhere. The variable for metrics wins over the general one. */}}
{{- define "cryptolens-exporter.otlpEndpoint" -}}
{{- $variable := "OTEL_EXPORTER_OTLP_ENDPOINT" -}}
{{- range .Values.extraEnv -}}
{{- if and (eq .name "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT") .value -}}
{{- $variable = .name -}}
{{- end -}}
{{- end -}}
{{- include "cryptolens-exporter.setting" (list . "otlp.endpoint" $variable "otlp" "endpoint" "") -}}
{{- end -}}

{{/*
What the exporter goes by in the end: the last flag in extraArgs, else the last variable in extraEnv, else the file, else the
default. Takes a list: root, flag, variable, section (or empty) and key of the file, default. Of a list of addresses, the first.
*/}}
{{- define "cryptolens-exporter.setting" -}}
{{- $root := index . 0 -}}
{{- $flag := printf "--%s" (index . 1) -}}
{{- $variable := index . 2 -}}
{{- $config := include "cryptolens-exporter.config" $root | fromYaml -}}
{{- $section := $config -}}
{{- with index . 3 -}}
{{- $section = index $config . | default dict -}}
{{- end -}}
{{- $value := dig (index . 4) (index . 5) $section -}}
{{- range $root.Values.extraEnv -}}
{{- if and (eq .name $variable) .value -}}
{{- $value = .value -}}
{{- end -}}
{{- end -}}
{{- $before := "" -}}
{{- range $root.Values.extraArgs -}}
{{- $argument := toString . -}}
{{- if eq $before $flag -}}
{{- $value = $argument -}}
{{- else if hasPrefix (printf "%s=" $flag) $argument -}}
{{- $value = trimPrefix (printf "%s=" $flag) $argument -}}
{{- end -}}
{{- $before = $argument -}}
{{- end -}}
{{- if kindIs "slice" $value -}}
{{- $value = first $value -}}
{{- end -}}
{{- $value -}}
{{- end -}}

{{- define "cryptolens-exporter.listenAddress" -}}
{{- include "cryptolens-exporter.setting" (list . "web.listen-address" "CRYPTOLENS_WEB_LISTEN_ADDRESS" "web" "listen_address" ":10460") | splitList "," | first -}}
{{- end -}}

{{/* The web configuration file (TLS, users) in the container; empty without one. */}}
{{- define "cryptolens-exporter.webConfigFile" -}}
{{- $own := empty .Values.web.configSecret | ternary "" "/etc/cryptolens-exporter/web/web.yml" -}}
{{- include "cryptolens-exporter.setting" (list . "web.config.file" "CRYPTOLENS_WEB_CONFIG_FILE" "web" "config_file" $own) -}}
{{- end -}}

{{/* https if the exporter speaks TLS, else http. */}}
{{- define "cryptolens-exporter.webScheme" -}}
{{- if and .Values.web.tls (include "cryptolens-exporter.webConfigFile" .) }}https{{ else }}http{{ end -}}
{{- end -}}

{{/*
A probe: a list of the root and its values. The kubelet knows neither the certificate nor a password; with a web configuration
file, the exporter asks itself.
*/}}
{{- define "cryptolens-exporter.probe" -}}
{{- $root := first . -}}
{{- $probe := last . -}}
{{- $file := include "cryptolens-exporter.webConfigFile" $root -}}
{{- if and $file (hasKey $probe "httpGet") -}}
{{- $command := list "/cryptolens-exporter" "healthcheck" (printf "--web.config.file=%s" $file) (printf "--web.listen-address=%s" (include "cryptolens-exporter.listenAddress" $root)) (printf "--url=%s" (dig "httpGet" "path" "/-/ready" $probe)) -}}
{{- toYaml (merge (dict "exec" (dict "command" $command)) (omit $probe "httpGet") (dict "timeoutSeconds" 5)) -}}
{{- else -}}
{{- toYaml $probe -}}
{{- end -}}
{{- end -}}

{{/* How the exporter's own health check asks the exporter. */}}
{{- define "cryptolens-exporter.webEnv" -}}
{{- $env := list -}}
{{- if .Values.web.configSecret -}}
{{- $env = append $env (dict "name" "CRYPTOLENS_WEB_CONFIG_FILE" "value" "/etc/cryptolens-exporter/web/web.yml") -}}
{{- end -}}
{{- with .Values.web.credentialsSecret -}}
{{- $env = append $env (dict "name" "CRYPTOLENS_HEALTHCHECK_USERNAME" "valueFrom" (dict "secretKeyRef" (dict "name" . "key" "username"))) -}}
{{- $env = append $env (dict "name" "CRYPTOLENS_HEALTHCHECK_PASSWORD_FILE" "value" "/etc/cryptolens-exporter/web-credentials/password") -}}
{{- end -}}
{{- if .Values.web.clientCertificateSecret -}}
{{- $env = append $env (dict "name" "CRYPTOLENS_HEALTHCHECK_CERT_FILE" "value" "/etc/cryptolens-exporter/web-client/tls.crt") -}}
{{- $env = append $env (dict "name" "CRYPTOLENS_HEALTHCHECK_KEY_FILE" "value" "/etc/cryptolens-exporter/web-client/tls.key") -}}
{{- end -}}
{{- toYaml $env -}}
{{- end -}}

{{- define "cryptolens-exporter.webVolumes" -}}
{{- include "cryptolens-exporter.secretVolumes" (dict "web" .Values.web.configSecret "web-credentials" .Values.web.credentialsSecret "web-client" .Values.web.clientCertificateSecret) -}}
{{- end -}}

{{- define "cryptolens-exporter.otlpVolumes" -}}
{{- include "cryptolens-exporter.secretVolumes" (dict "otlp-ca" .Values.otlp.caSecret "otlp-client" .Values.otlp.clientCertificateSecret) -}}
{{- end -}}

{{/* Volumes by name, of those Secrets that have a name. */}}
{{- define "cryptolens-exporter.secretVolumes" -}}
{{- $volumes := list -}}
{{- range $name, $secret := . -}}
{{- if $secret -}}
{{- /* 0440 in octal, which not every reader of YAML takes for that. */ -}}
{{- $volumes = append $volumes (dict "name" $name "secret" (dict "secretName" $secret "defaultMode" 288)) -}}
{{- end -}}
{{- end -}}
{{- toYaml $volumes -}}
{{- end -}}

{{- define "cryptolens-exporter.webMounts" -}}
{{- include "cryptolens-exporter.secretMounts" (include "cryptolens-exporter.webVolumes" . | fromYamlArray) -}}
{{- end -}}

{{/* Where the container has volumes of Secrets. */}}
{{- define "cryptolens-exporter.secretMounts" -}}
{{- $mounts := list -}}
{{- range . -}}
{{- /* The whole directory: only so does Kubernetes bring a renewed certificate. */ -}}
{{- $mounts = append $mounts (dict "name" .name "mountPath" (printf "/etc/cryptolens-exporter/%s" .name) "readOnly" true) -}}
{{- end -}}
{{- toYaml $mounts -}}
{{- end -}}

{{- define "cryptolens-exporter.containerPort" -}}
{{- $port := include "cryptolens-exporter.listenAddress" . | regexFind ":[0-9]+$" | trimPrefix ":" -}}
{{- default "10460" $port -}}
{{- end -}}

{{- define "cryptolens-exporter.telemetryPath" -}}
{{- include "cryptolens-exporter.setting" (list . "web.telemetry-path" "CRYPTOLENS_WEB_TELEMETRY_PATH" "web" "telemetry_path" "/metrics") -}}
{{- end -}}

{{- define "cryptolens-exporter.apiUrl" -}}
{{- include "cryptolens-exporter.setting" (list . "api.url" "CRYPTOLENS_API_URL" "api" "url" "https://api.cryptolens.io/api") -}}
{{- end -}}

{{- define "cryptolens-exporter.storagePath" -}}
{{- $path := include "cryptolens-exporter.setting" (list . "storage.path" "CRYPTOLENS_STORAGE_PATH" "storage" "path" "/var/lib/cryptolens-exporter") -}}
{{- if not (hasPrefix "/" $path) -}}
{{- fail (printf "\n\nstorage.path is %q; in a pod it begins with a slash, as in /var/lib/cryptolens-exporter." $path) -}}
{{- end -}}
{{- $path -}}
{{- end -}}

{{/* The variables by which the exporter finds its proxy, as the API's scheme has it; then those for all. */}}
{{- define "cryptolens-exporter.proxyVariables" -}}
{{- $scheme := hasPrefix "http:" (include "cryptolens-exporter.apiUrl" .) | ternary "HTTP_PROXY" "HTTPS_PROXY" -}}
{{- list $scheme (lower $scheme) | join "," -}}
{{- end -}}

{{/* The proxy in the end: what extraEnv says, else proxy.url. */}}
{{- define "cryptolens-exporter.proxy" -}}
{{- $names := include "cryptolens-exporter.proxyVariables" . | splitList "," -}}
{{- $proxy := .Values.proxy.url -}}
{{- range .Values.extraEnv -}}
{{- if and (has .name (concat $names (list "ALL_PROXY" "all_proxy"))) .value -}}
{{- $proxy = .value -}}
{{- end -}}
{{- end -}}
{{- if and $proxy (not (contains "://" $proxy)) -}}
{{- $proxy = printf "http://%s" $proxy -}}
{{- end -}}
{{- $proxy -}}
{{- end -}}

{{/* Variables of the container. Server-side apply refuses a name that is there twice: the last one stays. */}}
{{- define "cryptolens-exporter.env" -}}
{{- $own := list -}}
{{- if not .Values.demo -}}
{{- /* For `kubectl exec`: check and the like find what the exporter goes by. */ -}}
{{- $own = append $own (dict "name" "CRYPTOLENS_CONFIG_FILE" "value" "/etc/cryptolens-exporter/config.yml") -}}
{{- $inFile := dig "storage" "path" "" .Values.config -}}
{{- if and $inFile (ne $inFile "/var/lib/cryptolens-exporter") -}}
{{- /* The image sets it, and a variable wins over the file. Empty counts as not set. */ -}}
{{- $own = append $own (dict "name" "CRYPTOLENS_STORAGE_PATH" "value" "") -}}
{{- end -}}
{{- if .Values.proxy.url -}}
{{- $own = append $own (dict "name" (include "cryptolens-exporter.proxyVariables" . | splitList "," | first) "value" .Values.proxy.url) -}}
{{- end -}}
{{- end -}}
{{- $own = concat $own (include "cryptolens-exporter.webEnv" . | fromYamlArray) (include "cryptolens-exporter.otlpEnv" . | fromYamlArray) -}}
{{- $last := dict -}}
{{- range $index, $one := concat $own .Values.extraEnv -}}
{{- $_ := set $last $one.name $index -}}
{{- end -}}
{{- $env := list -}}
{{- range $index, $one := concat $own .Values.extraEnv -}}
{{- if eq $index (index $last $one.name) -}}
{{- $env = append $env $one -}}
{{- end -}}
{{- end -}}
{{- with $env -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/* Mounts of the container. One of the user at the same place goes before the chart's. */}}
{{- define "cryptolens-exporter.volumeMounts" -}}
{{- $own := list (dict "name" "ledger" "mountPath" (include "cryptolens-exporter.storagePath" .)) -}}
{{- if .Values.demo -}}
{{- $own = append $own (dict "name" "tmp" "mountPath" "/tmp") -}}
{{- else -}}
{{- $own = append $own (dict "name" "config" "mountPath" "/etc/cryptolens-exporter/config.yml" "subPath" "config.yml" "readOnly" true) -}}
{{- end -}}
{{- if include "cryptolens-exporter.tokenSecret" . -}}
{{- /* The whole directory, not one file of it: only so does Kubernetes bring a changed token. */ -}}
{{- $own = append $own (dict "name" "tokens" "mountPath" "/etc/cryptolens-exporter/tokens" "readOnly" true) -}}
{{- end -}}
{{- $own = concat $own (include "cryptolens-exporter.webMounts" . | fromYamlArray) -}}
{{- $own = concat $own (include "cryptolens-exporter.secretMounts" (include "cryptolens-exporter.otlpVolumes" . | fromYamlArray) | fromYamlArray) -}}
{{- $own = concat $own (include "cryptolens-exporter.secretMounts" (include "cryptolens-exporter.historyVolumes" . | fromYamlArray) | fromYamlArray) -}}
{{- $own = concat $own (include "cryptolens-exporter.secretMounts" (include "cryptolens-exporter.usageVolumes" . | fromYamlArray) | fromYamlArray) -}}
{{- $own = concat $own (include "cryptolens-exporter.secretMounts" (include "cryptolens-exporter.archiveVolumes" . | fromYamlArray) | fromYamlArray) -}}
{{- if and .Values.archive.existingClaim (not .Values.demo) -}}
{{- $own = append $own (dict "name" "archive" "mountPath" "/var/lib/cryptolens-archive") -}}
{{- end -}}
{{- $places := list -}}
{{- range .Values.extraVolumeMounts -}}
{{- $places = append $places (trimSuffix "/" .mountPath) -}}
{{- end -}}
{{- $mounts := list -}}
{{- range $own -}}
{{- if not (has .mountPath $places) -}}
{{- $mounts = append $mounts . -}}
{{- end -}}
{{- end -}}
{{- toYaml (concat $mounts .Values.extraVolumeMounts) -}}
{{- end -}}

{{/* Arguments of the container, as a list. The demo takes no file, so it gets flags for what it takes from one. */}}
{{- define "cryptolens-exporter.args" -}}
{{- $args := list "serve" "--config.file=/etc/cryptolens-exporter/config.yml" -}}
{{- range .Values.extraEnv -}}
{{- if eq .name "CRYPTOLENS_CONFIG_FILE" -}}
{{- $args = list "serve" -}}
{{- end -}}
{{- end -}}
{{- if .Values.demo -}}
{{- $args = list "demo" -}}
{{- $config := include "cryptolens-exporter.config" . | fromYaml -}}
{{- range $setting := list
  (list "storage" "path" "storage.path")
  (list "poll" "interval" "poll.interval")
  (list "poll" "interval_events" "poll.interval.events")
  (list "poll" "interval_objects" "poll.interval.objects")
  (list "web" "listen_address" "web.listen-address")
  (list "web" "telemetry_path" "web.telemetry-path")
  (list "web" "config_file" "web.config.file")
  (list "web" "max_connections" "web.max-connections")
  (list "log" "level" "log.level")
  (list "log" "format" "log.format")
  (list "otlp" "endpoint" "otlp.endpoint")
  (list "history" "otlp" "history.otlp")
  (list "history" "window" "history.window")
  (list "history" "labels" "history.labels")
  (list "history" "outbox_limit" "history.outbox-limit")
  (list "usage" "active" "usage.active")
  (list "usage" "seats" "usage.seats")
-}}
{{- with dig (first $setting) (index $setting 1) "" $config -}}
{{- $args = append $args (printf "--%s=%v" (last $setting) (kindIs "slice" . | ternary (join "," .) .)) -}}
{{- end -}}
{{- end -}}
{{- with dig "history" "remote_write" list $config -}}
{{- if or (gt (len .) 1) (omit (first .) "url" "name" "remote_timeout") -}}
{{- fail "\n\nhistory.remoteWrite: the demo takes one database, without credentials, headers and TLS settings." -}}
{{- end -}}
{{- $args = append $args (printf "--history.remote-write.url=%s" (first .).url) -}}
{{- end -}}
{{- end -}}
{{- range .Values.extraArgs -}}
{{- $args = append $args (toString .) -}}
{{- end -}}
{{- toYaml $args -}}
{{- end -}}

{{/* Values that do nothing here, one a line: NOTES names them. */}}
{{- define "cryptolens-exporter.idle" -}}
{{- $config := .Values.config -}}
{{- if .Values.demo -}}
{{- range $key, $_ := omit $config "poll" "web" "log" "storage" "otlp" "history" "usage" }}
config.{{ $key }}: the demo has an account of its own
{{- end }}
{{- if hasKey (default dict $config.poll) "overlap" }}
config.poll.overlap: the demo has its own
{{- end }}
{{- if or .Values.token.existingSecret .Values.token.value }}
token: the demo needs none
{{- end }}
{{- if .Values.usage.secret }}
usage.secret: the demo has a ledger of its own
{{- end }}
{{- if ne .Values.api.url "https://api.cryptolens.io/api" }}
api.url: the demo brings its own API
{{- end }}
{{- if .Values.proxy.url }}
proxy.url: the demo asks nobody
{{- end }}
{{- if ne .Values.since "now" }}
since: the demo counts everything
{{- end }}
{{- if ne (sortAlpha .Values.logs | join ",") "events,objects,web_api" }}
logs: the demo counts all of them
{{- end }}
{{- if .Values.storage.foreignLedger }}
storage.foreignLedger: the demo has it not
{{- end }}
{{- if .Values.archive.existingClaim }}
archive.existingClaim: the demo archives beside its ledger
{{- end }}
{{- else -}}
{{- if and (hasKey $config "since") (ne .Values.since "now") }}
since: config.since wins
{{- end }}
{{- if and (hasKey $config "logs") (ne (sortAlpha .Values.logs | join ",") "events,objects,web_api") }}
logs: config.logs wins
{{- end }}
{{- if and (dig "api" "url" "" $config) (ne .Values.api.url "https://api.cryptolens.io/api") }}
api.url: config.api.url wins
{{- end }}
{{- if and (dig "log" "level" "" $config) (ne .Values.log.level "info") }}
log.level: config.log.level wins
{{- end }}
{{- if and (dig "log" "format" "" $config) (ne .Values.log.format "logfmt") }}
log.format: config.log.format wins
{{- end }}
{{- if and (dig "storage" "foreign_ledger" "" $config) .Values.storage.foreignLedger }}
storage.foreignLedger: config.storage.foreign_ledger wins
{{- end }}
{{- if and (dig "archive" "path" "" $config) .Values.archive.existingClaim (ne (dig "archive" "path" "" $config) "/var/lib/cryptolens-archive") }}
archive.existingClaim: config.archive.path wins
{{- end }}
{{- if and .Values.archive.keySecret (not .Values.archive.existingClaim) }}
archive.keySecret: nothing is archived without archive.existingClaim
{{- end }}
{{- if and $config.accounts (ne .Values.token.key "token") }}
token.key: each account of config.accounts names its own token
{{- end }}
{{- end }}
{{- $endpoint := include "cryptolens-exporter.otlpEndpoint" . }}
{{- range include "cryptolens-exporter.otlpShorthands" . | fromYamlArray }}
{{- $given := dig "otlp" (index . 1) "" $config }}
{{- if not $endpoint }}
otlp.{{ index . 2 }}: nothing is pushed without otlp.endpoint
{{- else if and $given (ne (toString $given) (last .)) }}
otlp.{{ index . 2 }}: config.otlp.{{ index . 1 }} wins
{{- end }}
{{- end }}
{{- if .Values.otlp.headersSecret }}
{{- if not $endpoint }}
otlp.headersSecret: nothing is pushed without otlp.endpoint
{{- else if dig "otlp" "headers" "" $config }}
config.otlp.headers: otlp.headersSecret wins
{{- end }}
{{- end }}
{{- $written := include "cryptolens-exporter.historyUrls" . | fromYamlArray }}
{{- $given := default dict $config.history }}
{{- range include "cryptolens-exporter.historyShorthands" . | fromYamlArray }}
{{- $own := index $.Values.history (index . 2) }}
{{- $other := index $given (index . 1) }}
{{- if and $own $other (ne (toString $own) (toString $other)) }}
history.{{ index . 2 }}: config.history.{{ index . 1 }} wins
{{- end }}
{{- end }}
{{- $usage := default dict $config.usage }}
{{- range include "cryptolens-exporter.usageShorthands" . | fromYamlArray }}
{{- if and (hasKey $usage (index . 1)) (ne (toString (last .)) (toString (index $usage (index . 1)))) }}
usage.{{ index . 2 }}: config.usage.{{ index . 1 }} wins
{{- end }}
{{- end }}
{{- if and .Values.usage.secret (not .Values.usage.active) (not $usage.active) (not .Values.demo) }}
usage.secret: nothing is hashed without usage.active
{{- end }}
{{- if and .Values.history.otlp (not $endpoint) }}
history.otlp: nothing is pushed without otlp.endpoint
{{- end }}
{{- if not (or $written .Values.history.otlp $given.otlp) }}
{{- range list "window" "labels" "outboxLimit" }}
{{- if index $.Values.history . }}
history.{{ . }}: no history is written without history.remoteWrite
{{- end }}
{{- end }}
{{- end }}
{{- if and .Values.networkPolicy.enabled .Values.networkPolicy.historyTo (not $written) }}
networkPolicy.historyTo: no history is written without history.remoteWrite
{{- end }}
{{- if and .Values.networkPolicy.enabled .Values.networkPolicy.otlpTo (not $endpoint) }}
networkPolicy.otlpTo: nothing is pushed without otlp.endpoint
{{- end }}
{{- if and .Values.persistence.existingClaim (not .Values.persistence.enabled) }}
persistence.existingClaim: persistence.enabled is false
{{- end }}
{{- if or .Values.persistence.existingClaim (not .Values.persistence.enabled) }}
{{- range list "storageClass" "annotations" "labels" }}
{{- if index $.Values.persistence . }}
persistence.{{ . }}: the chart makes no claim
{{- end }}
{{- end }}
{{- if .Values.persistentVolumeClaimRetentionPolicy }}
persistentVolumeClaimRetentionPolicy: the chart makes no claim
{{- end }}
{{- end }}
{{- if and .Values.image.digest .Values.image.tag }}
image.tag: image.digest wins
{{- end }}
{{- if and (not .Values.serviceAccount.create) .Values.serviceAccount.annotations }}
serviceAccount.annotations: serviceAccount.create is false
{{- end }}
{{- if not .Values.networkPolicy.enabled }}
{{- range list "scrapeFrom" "apiTo" "otlpTo" "historyTo" "extraIngress" "extraEgress" }}
{{- if index $.Values.networkPolicy . }}
networkPolicy.{{ . }}: networkPolicy.enabled is false
{{- end }}
{{- end }}
{{- else if and .Values.demo .Values.networkPolicy.apiTo }}
networkPolicy.apiTo: the demo asks nobody
{{- end }}
{{- end -}}
