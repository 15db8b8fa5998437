{{- define "cryptolens-exporter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 52 characters: a StatefulSet appends a hash to make its controller revisions. */}}
{{- define "cryptolens-exporter.fullname" -}}
{{- $name := include "cryptolens-exporter.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "cryptolens-exporter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "cryptolens-exporter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "cryptolens-exporter.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "cryptolens-exporter.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "cryptolens-exporter.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "cryptolens-exporter.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "cryptolens-exporter.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The port of a URL: what it names, else that of its scheme. */}}
{{- define "cryptolens-exporter.port" -}}
{{- $url := urlParse . -}}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" -}}
{{- if $port -}}{{ $port }}{{- else if eq $url.scheme "http" -}}80{{- else -}}443{{- end -}}
{{- end -}}

{{/* One token for all, unless each account names its own, or nobody needs one. */}}
{{- define "cryptolens-exporter.tokenFile" -}}
{{- if not (or .Values.demo .Values.config.accounts) -}}
{{- if not .Values.token.existingSecret -}}
{{- fail "\n\ntoken.existingSecret is missing. Make a Secret that holds an access token:\n\n  kubectl create secret generic cryptolens --from-file=token=PATH\n\nand set token.existingSecret=cryptolens. To look around without an account, set demo=true." -}}
{{- end -}}
/etc/cryptolens-exporter/tokens/{{ .Values.token.key }}
{{- end -}}
{{- end -}}
