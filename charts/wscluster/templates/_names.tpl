{{/* The name of the operator and of all that belongs to it. */}}
{{- define "wscluster.name" -}}
{{- if contains "wscluster" .Release.Name -}}
{{ printf "%s-operator" (.Release.Name | trunc 50 | trimSuffix "-") }}
{{- else -}}
{{ printf "%s-wscluster-operator" (.Release.Name | trunc 40 | trimSuffix "-") }}
{{- end -}}
{{- end }}

{{- define "wscluster.selector" -}}
app.kubernetes.io/name: wscluster-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "wscluster.labels" -}}
{{ include "wscluster.selector" . }}
app.kubernetes.io/part-of: wscluster
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "wscluster.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "wscluster.name" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end }}

{{/* An image reference from {repository, tag, digest}; call it with (list . image). */}}
{{- define "wscluster.image" -}}
{{- $chart := (index . 0).Chart -}}
{{- $image := index . 1 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default $chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* What the restricted Pod Security Standard asks of a container. */}}
{{- define "wscluster.securityContext" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
readOnlyRootFilesystem: true
{{- end }}

{{- define "wscluster.podSecurityContext" -}}
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end }}
