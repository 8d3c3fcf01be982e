{{- /* What values.schema.json cannot say, since it takes arithmetic. Included where nothing is left out: deployment. */ -}}
{{- define "smtpgw.validate" -}}
{{- $submit := .Values.config.SMTPGW_SUBMIT_TIMEOUT_SECONDS | default 25 | float64 -}}
{{- $drain := .Values.shutdown.drainTimeoutSeconds -}}
{{- $grace := include "smtpgw.gracePeriodSeconds" . | int -}}
{{- $least := include "smtpgw.leastGracePeriodSeconds" . | int -}}
{{- if le (float64 $drain) $submit -}}
{{- fail (printf "shutdown.drainTimeoutSeconds: %v must be more than SMTPGW_SUBMIT_TIMEOUT_SECONDS, %v: a message cut after it was submitted arrives twice" $drain $submit) -}}
{{- end -}}
{{- if lt $grace $least -}}
{{- fail (printf "shutdown.gracePeriodSeconds: %d must be at least preStopSleepSeconds + drainTimeoutSeconds + 25, which is %d" $grace $least) -}}
{{- end -}}
{{- if gt $grace 600 -}}
{{- fail (printf "shutdown: %d s of grace are more than the 600 s that OVH waits for a node's pods" $grace) -}}
{{- end -}}
{{- if and .Values.service.ovh.enabled (eq .Values.service.type "LoadBalancer") -}}
{{- $sleep := int .Values.shutdown.preStopSleepSeconds -}}
{{- $look := include "smtpgw.balancerLookSeconds" . | int -}}
{{- if le $sleep $look -}}
{{- fail (printf "shutdown.preStopSleepSeconds: %d must be more than the %d s after which the load balancer has seen that a pod goes" $sleep $look) -}}
{{- end -}}
{{- end -}}
{{- /* int: from `--set` they are integers, from a file floats, and templates do not compare the one with the other. */ -}}
{{- if gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas) -}}
{{- fail "autoscaling.minReplicas: must not be more than autoscaling.maxReplicas" -}}
{{- end -}}
{{- if and (ne .Values.autoscaling.engine "none") (not (dig "requests" "cpu" "" .Values.resources)) -}}
{{- fail "resources.requests.cpu: autoscaling.cpuPercent is a share of it, and nothing scales without" -}}
{{- end -}}
{{- if eq (int .Values.service.port) (int .Values.service.smtpsPort) -}}
{{- fail "service.smtpsPort: must be another than service.port" -}}
{{- end -}}
{{- $behind := or .Values.proxyProtocol.enabled (and .Values.service.ovh.enabled (eq .Values.service.type "LoadBalancer")) -}}
{{- if and $behind (eq .Values.service.sessionAffinity "ClientIP") -}}
{{- fail "service.sessionAffinity: behind a load balancer that speaks PROXY, or OVH's, Kubernetes sees its address alone, and ClientIP would send all clients to one pod; service.ovh.lbMethod SOURCE_IP keeps a client on a node" -}}
{{- end -}}
{{- $messageBytes := .Values.config.SMTPGW_MAX_MESSAGE_BYTES | default 26214400 | int64 -}}
{{- $bytesInFlight := .Values.config.SMTPGW_MAX_BYTES_IN_FLIGHT | default 134217728 | int64 -}}
{{- if lt $bytesInFlight $messageBytes -}}
{{- fail "config.SMTPGW_MAX_BYTES_IN_FLIGHT: must be at least SMTPGW_MAX_MESSAGE_BYTES" -}}
{{- end -}}
{{- end }}
