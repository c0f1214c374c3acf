"""Names, labels and units of the metrics that a serving pod exposes."""

#: Labels that every series of a pod carries; constant for the life of the pod.
REVISION = "revision"
MODEL = "model"
MODEL_VERSION = "model_version"

#: Inference requests answered, by HTTP status code.
REQUESTS_TOTAL = "penstock_requests_total"
CODE = "code"
#: Time from the first byte of an inference request to its answer, in seconds.
REQUEST_DURATION_SECONDS = "penstock_request_duration_seconds"
#: Time inside ONNX Runtime per run, in seconds.
RUN_DURATION_SECONDS = "penstock_run_duration_seconds"
#: Rows (first dimension of the first input) of requests that were answered with 200.
ROWS_TOTAL = "penstock_rows_total"
#: Rows per run inside ONNX Runtime: of one request, or of several that share a run.
RUN_ROWS = "penstock_run_rows"
#: Time that requests which could not run at once waited for their run, in seconds.
QUEUE_DURATION_SECONDS = "penstock_queue_duration_seconds"
#: CPU time of the whole process since it started, in seconds: what serving this revision has cost.
CPU_SECONDS_TOTAL = "penstock_cpu_seconds_total"
#: Requests inside ONNX Runtime now.
REQUESTS_IN_FLIGHT = "penstock_requests_in_flight"
#: Requests that wait for their turn now.
REQUESTS_QUEUED = "penstock_requests_queued"
#: Inference requests that never reached the model, by reason.
REQUESTS_REJECTED_TOTAL = "penstock_requests_rejected_total"
REASON = "reason"
#: Time that reading the model and building its session took, in seconds.
MODEL_LOAD_SECONDS = "penstock_model_load_seconds"
#: Always 1; its labels tell the versions of the server and of ONNX Runtime.
SERVER_INFO = "penstock_server_info"
#: 1 when the pod takes requests, else 0.
READY = "penstock_ready"

#: Rows that were counted for the drift profile, and rows that were answered but came too fast to be counted.
PROFILE_ROWS_TOTAL = "penstock_profile_rows_total"
PROFILE_ROWS_DROPPED_TOTAL = "penstock_profile_rows_dropped_total"
#: 1 where a reference profile was found and cannot be used; the server's log and /v1/profile say why.
PROFILE_UNUSABLE = "penstock_profile_unusable"
#: Delayed labels, by what became of them.
FEEDBACK_TOTAL = "penstock_feedback_total"
#: Sampled requests of the prediction log, by what became of them.
PREDICTION_LOG_TOTAL = "penstock_prediction_log_total"
OUTCOME = "outcome"

#: Upper bounds of the latency buckets in seconds: about 1.6 apart, so that a quantile is known within 25 percent.
LATENCY_BUCKETS_SECONDS = (
    0.00025, 0.0005, 0.001, 0.0016, 0.0025, 0.004, 0.006, 0.01, 0.016, 0.025,
    0.04, 0.06, 0.1, 0.16, 0.25, 0.4, 0.6, 1.0, 1.6, 2.5, 4.0, 6.0, 10.0, 30.0,
)  # fmt: skip
#: Upper bounds of the buckets of rows per run.
ROWS_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096)
