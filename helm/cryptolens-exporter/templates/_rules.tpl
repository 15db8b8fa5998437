{{/*
The rules in files/, changed by the values of prometheusRule. scripts/rules makes the same changes for those without Helm, and
scripts/assets-check compares both.
*/}}
{{- define "cryptolens-exporter.rules" -}}
{{- $values := .Values.prometheusRule -}}
{{- $for := default dict $values.for -}}
{{- $severities := default dict $values.severities -}}
{{- $disabled := default list $values.disabled -}}
{{- $file := .Files.Get "files/prometheus/cryptolens.rules.yml" | fromYaml -}}
{{- $known := .Files.Get "tunables.yaml" | fromYaml -}}
{{- $alerts := dict -}}
{{- $groups := list -}}
{{- range $group := $file.groups -}}
{{- $rules := list -}}
{{- range $rule := $group.rules -}}
{{- if $rule.record -}}
{{- range $known.tunables -}}
{{- if eq .record $rule.record -}}
{{- $path := splitList "." .value -}}
{{- $number := index $values (first $path) -}}
{{- if eq (len $path) 2 -}}
{{- $number = index (default dict $number) (last $path) -}}
{{- end -}}
{{- if not (kindIs "invalid" $number) -}}
{{- $_ := set $rule "expr" ($rule.expr | replace .text (.text | replace .default (toString $number))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- else -}}
{{- $_ := set $alerts $rule.alert true -}}
{{- with index $for $rule.alert -}}
{{- $_ := set $rule "for" . -}}
{{- end -}}
{{- with index $severities $rule.alert -}}
{{- $_ := set $rule.labels "severity" . -}}
{{- end -}}
{{- range $name, $value := $values.alertLabels -}}
{{- $_ := set $rule.labels $name $value -}}
{{- end -}}
{{- with $values.runbookUrl -}}
{{- if hasPrefix $known.runbooks $rule.annotations.runbook_url -}}
{{- $_ := set $rule.annotations "runbook_url" (printf "%s%s" . (trimPrefix $known.runbooks $rule.annotations.runbook_url)) -}}
{{- end -}}
{{- end -}}
{{- with $values.dashboardUrl -}}
{{- if hasPrefix $known.dashboards (default "" $rule.annotations.dashboard_url) -}}
{{- $_ := set $rule.annotations "dashboard_url" (printf "%s%s" (trimSuffix "/" .) $rule.annotations.dashboard_url) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if not (has (default "" $rule.alert) $disabled) -}}
{{- $rules = append $rules $rule -}}
{{- end -}}
{{- end -}}
{{- if $rules -}}
{{- $groups = append $groups (set (deepCopy $group) "rules" $rules) -}}
{{- end -}}
{{- end -}}
{{- with $values.extraRules -}}
{{- $groups = append $groups (dict "name" "cryptolens-exporter.extra" "rules" .) -}}
{{- end -}}
{{- range concat $disabled (keys $for) (keys $severities) -}}
{{- if not (hasKey $alerts .) -}}
{{- fail (printf "\n\nprometheusRule: there is no alert %q; there are %s." . (keys $alerts | sortAlpha | join ", ")) -}}
{{- end -}}
{{- end -}}
{{- toYaml (dict "groups" $groups) -}}
{{- end -}}
