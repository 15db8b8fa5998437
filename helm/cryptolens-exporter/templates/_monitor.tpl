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

{{/* One endpoint of a ServiceMonitor or PodMonitor: a list of the root and its values. */}}
{{- define "cryptolens-exporter.endpoint" -}}
{{- $root := first . -}}
{{- $values := last . -}}
port: http
path: {{ default (include "cryptolens-exporter.telemetryPath" $root) $values.path }}
interval: {{ $values.interval }}
scrapeTimeout: {{ $values.scrapeTimeout }}
{{- with $values.scheme }}
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
