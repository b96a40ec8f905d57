// Numbers, times and states as people read them.

const NUMBER = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const STEPS = [["day", 86400], ["h", 3600], ["min", 60]];
const NONE = "–";

export function count(value) {
  return value === null || value === undefined ? NONE : NUMBER.format(value);
}

/** `3 scenes`, `1 scene`. */
export function counted(value, word, plural = `${word}s`) {
  return `${count(value)} ${value === 1 ? word : plural}`;
}

/** A score between 0 and 1, three digits. */
export function score(value) {
  return value === null || value === undefined ? NONE : value.toFixed(3);
}

export function signed(value) {
  return value === null || value === undefined ? NONE : `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;
}

/** Any measured number in as few digits as tell it. */
export function figure(value) {
  if (value === null || value === undefined) return NONE;
  if (typeof value !== "number") return String(value);
  if (value < 0) return `−${figure(-value)}`;
  if (Number.isInteger(value)) return NUMBER.format(value);
  const size = Math.abs(value);
  return size >= 1000 ? NUMBER.format(value) : size >= 10 ? value.toFixed(1) : size >= 0.001 ? value.toFixed(3) : value.toExponential(1);
}

export function interval(low, high) {
  return low === null || low === undefined || high === null || high === undefined ? null : `${low.toFixed(3)} to ${high.toFixed(3)}`.replaceAll("-", "−");
}

export function bytes(value) {
  if (value === null || value === undefined) return NONE;
  const units = ["B", "kB", "MB", "GB", "TB"];
  const step = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, value)) / 3));
  const shown = value / 1000 ** step;
  return `${shown >= 10 || step === 0 ? shown.toFixed(0) : shown.toFixed(1)} ${units[step]}`;
}

/** Square metres, hectares or square kilometres. */
export function area(value) {
  if (value === null || value === undefined) return NONE;
  if (value >= 1e6) return `${(value / 1e6).toFixed(2)} km²`;
  return value >= 1e5 ? `${(value / 1e4).toFixed(1)} ha` : `${count(value)} m²`;
}

/** `23 Nov 2026, 14:02` in the reader's time zone. */
export function moment(iso) {
  if (!iso) return NONE;
  const options = { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  return new Date(iso).toLocaleString("en-GB", options);
}

/** `2 h ago`; a clock that goes ahead makes no times to come. */
export function ago(iso, now = Date.now()) {
  if (!iso) return NONE;
  const seconds = (now - new Date(iso).getTime()) / 1000;
  const step = STEPS.find(([, length]) => seconds >= length);
  if (!step) return "just now";
  const number = Math.trunc(seconds / step[1]);
  return `${number} ${step[0]}${step[0] === "day" && number > 1 ? "s" : ""} ago`;
}

export function duration(start, end) {
  if (!start) return NONE;
  const seconds = Math.max(0, Math.round(((end ? new Date(end) : new Date()) - new Date(start)) / 1000));
  if (seconds < 90) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

const STATES = {
  success: ["good", "done"], passed: ["good", "passed"], promoted: ["good", "promoted"], ok: ["good", "ok"], healthy: ["good", "ok"],
  FINISHED: ["good", "done"], running: ["busy", "running"], RUNNING: ["busy", "running"], queued: ["busy", "waiting to start"],
  scheduled: ["busy", "waiting to start"], deferred: ["busy", "waiting"], restarting: ["busy", "restarting"],
  up_for_retry: ["warn", "will be tried again"], waiting: ["warn", "a person has to decide"], awaiting_input: ["warn", "a person has to decide"], "not enough evidence": ["warn", "not enough evidence"],
  failed: ["bad", "failed"], FAILED: ["bad", "failed"], KILLED: ["bad", "stopped"], upstream_failed: ["bad", "not reached"], bad: ["bad", "bad"],
  refused: ["bad", "refused"], rejected: ["bad", "refused"], rolled_back: ["warn", "rolled back"], registered: ["idle", "registered"],
  skipped: ["idle", "skipped"], never: ["idle", "not run yet"], unknown: ["idle", "unknown"],
};

/** Return `[tone, words]` of a state of Airflow, MLflow or satseg. */
export function stateWords(state) {
  return STATES[state] ?? ["idle", state ? String(state).replaceAll("_", " ") : "not run yet"];
}

/** `v3` of `3`. */
export function versionName(version) {
  return version === null || version === undefined ? NONE : /^\d+$/.test(version) ? `v${version}` : String(version);
}
