{{/* Head of a ServiceMonitor, PodMonitor or PrometheusRule: a list of the root and its values. */}}
{{- define "cryptolens-exporter.monitoringMetadata" -}}
{{- $root := first . -}}
{{- $values := last . -}}
name: {{ include "cryptolens-exporter.fullname" $root }}
namespace: {{ default (include "cryptolens-exporter.namespace" $root) $values.namespace }}
labels:
  {{- include "cryptolens-exporter.labelsWith" (list $root $values.labels $values.additionalLabels) | nindent 2 }}
{{- with $values.annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "cryptolens-exporter.milliseconds" -}}
{{- $units := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 "d" 86400000 -}}
{{- $sum := 0 -}}
{{- range regexFindAll "[0-9]+[a-z]+" . -1 -}}
{{- $sum = add $sum (mul (regexFind "[0-9]+" .) (index $units (regexFind "[a-z]+" .))) -}}
{{- end -}}
{{- $sum -}}
{{- end -}}

{{/* One endpoint of a ServiceMonitor or PodMonitor: a list of the root and its values. */}}
{{- define "cryptolens-exporter.endpoint" -}}
{{- $root := first . -}}
{{- $values := last . -}}
port: http
path: {{ default (include "cryptolens-exporter.telemetryPath" $root) $values.path }}
{{- if and $values.interval $values.scrapeTimeout }}
{{- if gt (include "cryptolens-exporter.milliseconds" $values.scrapeTimeout | int64) (include "cryptolens-exporter.milliseconds" $values.interval | int64) }}
{{- fail (printf "\n\nThe scrape may take %s, longer than the interval of %s, which the Prometheus operator refuses." $values.scrapeTimeout $values.interval) }}
{{- end }}
{{- end }}
{{- with $values.interval }}
interval: {{ . }}
{{- end }}
{{- with $values.scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
{{- $own := include "cryptolens-exporter.webScheme" $root -}}
{{- with default (eq $own "https" | ternary $own "") $values.scheme }}
scheme: {{ . }}
{{- end }}
{{- with $values.tlsConfig }}
tlsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.basicAuth }}
basicAuth:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if $values.honorLabels }}
honorLabels: true
{{- end }}
relabelings:
  {{- with $values.job }}
  # Rules and dashboards are the same wherever the exporter runs.
  - targetLabel: job
    replacement: {{ . | quote }}
  {{- end }}
  # Its address is another after each restart; its name stays.
  - sourceLabels: [__meta_kubernetes_pod_name]
    targetLabel: instance
  {{- with $values.relabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $values.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
