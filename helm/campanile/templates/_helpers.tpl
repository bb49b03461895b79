{{- define "campanile.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "campanile.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "campanile.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "campanile.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "campanile.selectorLabels" -}}
app.kubernetes.io/name: {{ include "campanile.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "campanile.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{ include "campanile.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "campanile.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "campanile.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "campanile.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- /* What of the worker is embedded, as a list without separator: "kafka", "state", both or nothing. */ -}}
{{- define "campanile.embedded" -}}
{{- $kafka := default dict .Values.settings.kafka -}}
{{- $state := default dict .Values.settings.state -}}
{{- if has (default "embedded" $kafka.brokers) (list "embedded") }} kafka.brokers{{ end -}}
{{- if has (default "embedded" $state.url) (list "embedded") }} state.url{{ end -}}
{{- end -}}

{{- /* Refuses what Kubernetes would accept and the workers would not, before anything is installed. */ -}}
{{- define "campanile.check" -}}
{{- $http := default dict .Values.settings.http -}}
{{- range list "listen" "probes" "tokens" -}}
{{- if hasKey $http . -}}
{{- fail (printf "settings.http.%s is set by the chart: use bindAddress and tokens" .) -}}
{{- end -}}
{{- end -}}
{{- if .Values.settings.secrets -}}
{{- fail "settings.secrets is set by the chart: list the names of your Secrets in `secrets`" -}}
{{- end -}}
{{- if .Values.settings.embedded -}}
{{- fail "settings.embedded is set by the chart: use persistence" -}}
{{- end -}}
{{- $embedded := include "campanile.embedded" . -}}
{{- $scaled := or .Values.autoscaling.enabled .Values.keda.enabled -}}
{{- if $embedded -}}
{{- if $scaled -}}
{{- fail (printf "an embedded worker cannot be scaled: autoscaling and keda need settings that name servers, and not named is:%s" $embedded) -}}
{{- end -}}
{{- if gt (int .Values.replicas) 1 -}}
{{- fail (printf "an embedded worker has its log or store for itself, so replicas must be 1 (it is %d); for more, name servers in settings. Not named is:%s" (int .Values.replicas) $embedded) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled .Values.keda.enabled -}}
{{- fail "autoscaling and keda would both decide the number of workers: enable one of them" -}}
{{- end -}}
{{- if and .Values.definitions .Values.definitionsConfigMap -}}
{{- fail "definitions and definitionsConfigMap exclude one another" -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (not (contains "kafka.brokers" $embedded)) (not .Values.networkPolicy.kafka.to) -}}
{{- fail "networkPolicy.kafka.to must say where Kafka is, or the workers could not reach it; or set networkPolicy.enabled=false" -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (not (contains "state.url" $embedded)) (not .Values.networkPolicy.redis.to) -}}
{{- fail "networkPolicy.redis.to must say where Redis is, or the workers could not reach it; or set networkPolicy.enabled=false" -}}
{{- end -}}
{{- if and .Values.keda.enabled (not (kindIs "string" .Values.settings.kafka.brokers)) -}}
{{- fail "keda must read settings.kafka.brokers: it cannot be a secret" -}}
{{- end -}}
{{- end -}}

{{- /* The settings file: what the chart decides, then what the values say. */ -}}
{{- define "campanile.settings" -}}
{{- $tokens := dict -}}
{{- $listen := "127.0.0.1:8080" -}}
{{- if .Values.tokens.secret -}}
{{- $listen = printf "%s:8080" .Values.bindAddress -}}
{{- range .Values.tokens.roles -}}
{{- $_ := set $tokens . (dict "secret" (printf "http-token-%s" .)) -}}
{{- end -}}
{{- end -}}
{{- $http := dict "listen" $listen "probes" (printf "%s:9090" .Values.bindAddress) -}}
{{- if $tokens -}}
{{- $_ := set $http "tokens" $tokens -}}
{{- end -}}
{{- $ours := dict "http" $http "log" (dict "format" "json") -}}
{{- if or .Values.secrets .Values.tokens.secret -}}
{{- $_ := set $ours "secrets" (dict "dir" "/etc/campanile/secrets") -}}
{{- end -}}
{{- if include "campanile.embedded" . -}}
{{- $_ := set $ours "embedded" (dict "path" "/var/lib/campanile/campanile.redb") -}}
{{- end -}}
{{- toYaml (mergeOverwrite $ours (deepCopy .Values.settings)) -}}
{{- end -}}

{{- /* delivery.drain and five seconds, for what comes after it: the last commits and leaving the group. */ -}}
{{- define "campanile.gracePeriodSeconds" -}}
{{- $drain := default "25s" (default dict .Values.settings.delivery).drain -}}
{{- if regexMatch "^[0-9]+s$" $drain -}}
{{- add 5 (trimSuffix "s" $drain | int) -}}
{{- else if regexMatch "^[0-9]+m$" $drain -}}
{{- add 5 (mul 60 (trimSuffix "m" $drain | int)) -}}
{{- else -}}
{{- fail (printf "settings.delivery.drain must be whole seconds or minutes here, such as 25s, not %s" $drain) -}}
{{- end -}}
{{- end -}}

{{- define "campanile.definitionsConfigMap" -}}
{{- if .Values.definitionsConfigMap -}}
{{- .Values.definitionsConfigMap -}}
{{- else if .Values.definitions -}}
{{- include "campanile.fullname" . }}-definitions
{{- end -}}
{{- end -}}
