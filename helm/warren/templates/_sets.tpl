{{/* Worker sets: the defaults with what a set says otherwise. */}}

{{/*
dict over, under: a YAML map of both; maps are merged, anything else of `over` wins, zero and false too
(mergeOverwrite of sprig passes them over).
*/}}
{{- define "warren.merged" -}}
{{- $merged := deepCopy .under -}}
{{- range $key, $value := .over -}}
{{- $below := get $merged $key -}}
{{- if and (kindIs "map" $value) (kindIs "map" $below) -}}
{{- $_ := set $merged $key (include "warren.merged" (dict "over" $value "under" $below) | fromYaml) -}}
{{- else if not (kindIs "invalid" $value) -}}
{{- $_ := set $merged $key $value -}}
{{- end -}}
{{- end -}}
{{- toYaml $merged -}}
{{- end -}}

{{/* A YAML map of all sets, whole. A set of null is none: that is how one of a values file below is taken away. */}}
{{- define "warren.sets" -}}
{{- $sets := dict -}}
{{- range $name, $set := .Values.workerSets -}}
{{- if not (kindIs "invalid" $set) -}}
{{- $_ := set $sets $name (include "warren.merged" (dict "over" $set "under" $.Values.workerDefaults) | fromYaml) -}}
{{- end -}}
{{- end -}}
{{- toYaml $sets -}}
{{- end -}}

{{/* A YAML list of the names of the sets that the chart's own scaler looks after. */}}
{{- define "warren.scaled" -}}
{{- $scaled := list -}}
{{- range $name, $set := include "warren.sets" . | fromYaml -}}
{{- if eq $set.autoscaling.mode "scaler" -}}
{{- $scaled = append $scaled $name -}}
{{- end -}}
{{- end -}}
{{- toYaml ($scaled | sortAlpha) -}}
{{- end -}}

{{/* A YAML list of all queues that worker sets serve, without priorities. */}}
{{- define "warren.queues" -}}
{{- $queues := list -}}
{{- range $name, $set := include "warren.sets" . | fromYaml -}}
{{- range $set.queues -}}
{{- $queues = append $queues (splitList "=" . | first) -}}
{{- end -}}
{{- end -}}
{{- toYaml ($queues | uniq | sortAlpha) -}}
{{- end -}}

{{/* Whether the chart's own small task module is there: not empty for yes. */}}
{{- define "warren.checkTask" -}}
{{- if and .Values.tests.enabled .Values.tests.checkTask (not .Values.tasks.catalog.existingConfigMap) (include "warren.queues" . | fromYamlArray) -}}
yes
{{- end -}}
{{- end -}}

{{/* Queue of the chart's own task: the first of the first set. */}}
{{- define "warren.checkQueue" -}}
{{- $queue := "" -}}
{{- range $name, $set := include "warren.sets" . | fromYaml -}}
{{- if and (not $queue) $set.queues -}}
{{- $queue = splitList "=" (first $set.queues) | first -}}
{{- end -}}
{{- end -}}
{{- $queue -}}
{{- end -}}

{{/* dict root, modules: WARREN_TASKS. */}}
{{- define "warren.modules" -}}
{{- $modules := .modules | default .root.Values.tasks.modules -}}
{{- if not $modules -}}
{{- range $file, $_ := .root.Values.tasks.files -}}
{{- if hasSuffix ".py" $file -}}
{{- $modules = append $modules (trimSuffix ".py" $file) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if include "warren.checkTask" .root -}}
{{- $modules = append $modules "warren_helm_test" -}}
{{- end -}}
{{- join "," $modules -}}
{{- end -}}
