{{- define "smtpgw.fullname" -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "smtpgw.selectorLabels" -}}
app.kubernetes.io/name: smtpgw
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "smtpgw.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version | replace "+" "_" }}
{{ include "smtpgw.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "smtpgw.regionLabels" -}}
region: {{ .Values.region.name | quote }}
country: {{ .Values.region.country | quote }}
{{- end }}

{{- define "smtpgw.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "smtpgw.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "smtpgw.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end }}

{{- define "smtpgw.tlsSecretName" -}}
{{ .Values.tls.existingSecret | default (printf "%s-tls" (include "smtpgw.fullname" .)) }}
{{- end }}

{{- /* An operator's own entries below the chart's; nothing where there are none, and not `{}`. */ -}}
{{- define "smtpgw.more" -}}
{{- if . }}{{ toYaml . }}{{ end }}
{{- end }}

{{- /* A setting as the environment has it. YAML reads `off` as false, and 26214400 as a float. */ -}}
{{- define "smtpgw.text" -}}
{{- if kindIs "bool" . -}}
{{ ternary "on" "off" . }}
{{- else if kindIs "string" . -}}
{{ . }}
{{- else -}}
{{ toJson . }}
{{- end -}}
{{- end }}

{{- /* gunicorn ends its workers 10 s after their drain should have ended; 15 s more are for the process itself. */ -}}
{{- define "smtpgw.leastGracePeriodSeconds" -}}
{{ add .Values.shutdown.preStopSleepSeconds .Values.shutdown.drainTimeoutSeconds 25 }}
{{- end }}

{{- define "smtpgw.gracePeriodSeconds" -}}
{{ .Values.shutdown.gracePeriodSeconds | default (include "smtpgw.leastGracePeriodSeconds" .) | int }}
{{- end }}

{{- /* A minute more than the gateway waits for a silent client, so that the client is told 421 and not just cut off. */ -}}
{{- define "smtpgw.balancerTimeoutMilliseconds" -}}
{{- $idle := .Values.config.SMTPGW_IDLE_TIMEOUT_SECONDS | default 300 | float64 -}}
{{- $data := .Values.config.SMTPGW_DATA_TIMEOUT_SECONDS | default 180 | float64 -}}
{{ addf (maxf $idle $data) 60 | mulf 1000 | ceil | int }}
{{- end }}

{{- /* The listener that takes no PROXY header, where there is one: NAME:PORT. */ -}}
{{- define "smtpgw.plainAddress" -}}
{{- if .Values.internalService.enabled -}}
{{ include "smtpgw.fullname" . }}-internal:{{ .Values.internalService.port }}
{{- else if not .Values.proxyProtocol.enabled -}}
{{ include "smtpgw.fullname" . }}:{{ .Values.service.port }}
{{- end -}}
{{- end }}

{{- /* "Restricted" by the Pod Security Standards: of the gateway and of the test. */ -}}
{{- define "smtpgw.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "smtpgw.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}
