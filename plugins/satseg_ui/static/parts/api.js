// The REST API: one place that knows its address, its errors and what a reader can do about them.

const BASE = new URL("../api/v1/", document.baseURI);

/** An answer that is not what was asked for: RFC 9457 problem details and the next step in words. */
export class Problem extends Error {
  constructor(status, title, detail, fields = []) {
    super(detail || title);
    Object.assign(this, { status, title, detail: detail || title, fields });
  }

  /** What the reader can do now. */
  get next() {
    return NEXT[this.status] ?? (this.status >= 500 ? "The log of Airflow's API server says more. Try again, then ask whoever runs it." : "");
  }

  get canRetry() {
    return this.status === 0 || this.status === 503 || this.status >= 500;
  }
}

const NEXT = {
  0: "Is Airflow still running? `make up` starts it. This page tries again by itself.",
  401: "Log in again; what you see here stays.",
  403: "Your account has no right to this. Someone with the role Op or Admin can do it, or give you the role.",
  404: "It may have been removed, or not made yet.",
  409: "Something changed in the meantime. Look at the newest state, then decide again.",
  413: "Send smaller files, or put them into the drop zone on the server.",
  415: "Only scenes and label files are taken here.",
  422: "Mend the values named above and send it again.",
  503: "A service is away or busy. Try again in a moment.",
};

/** Return the address of a route below /satseg/api/v1; parts are escaped, `query` may be left out. */
export function route(parts, query) {
  const url = new URL(parts.map(encodeURIComponent).join("/"), BASE);
  for (const [name, value] of Object.entries(query ?? {})) {
    for (const one of [value].flat()) if (one !== null && one !== undefined) url.searchParams.append(name, one);
  }
  return url.pathname + url.search;
}

/** GET a route as JSON. */
export function read(parts, query) {
  return send("GET", route(parts, query));
}

export function write(method, parts, body) {
  return send(method, route(parts), body);
}

async function send(method, url, body) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(url, { method, headers, credentials: "same-origin", body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new Problem(0, "No answer", "The server does not answer.");
  }
  if (answer.ok) return answer.status === 204 ? null : answer.json();
  throw problemOf(answer.status, answer.statusText, await answer.text());
}

/** Return the Problem of an answer's body, whatever it is. */
export function problemOf(status, title, text) {
  try {
    const told = JSON.parse(text);
    const detail = typeof told.detail === "string" ? told.detail : told.title;
    return new Problem(status, told.title ?? title, detail, (told.errors ?? []).map((one) => ({ field: String(one.field), message: String(one.message) })));
  } catch {
    return new Problem(status, title || `Status ${status}`, status === 401 ? "You are not logged in any more." : "");
  }
}

/** PUT a file as it is; `onProgress` gets the fraction sent. Only XMLHttpRequest tells how far an upload is. */
export function upload(parts, query, file, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", route(parts, query));
    request.setRequestHeader("Content-Type", file.type || "application/octet-stream");
    request.upload.addEventListener("progress", (event) => event.lengthComputable && onProgress(event.loaded / event.total));
    request.addEventListener("error", () => reject(new Problem(0, "Upload broken off", "The connection broke off; nothing of the file was kept.")));
    request.addEventListener("load", () => {
      if (request.status < 300) resolve(JSON.parse(request.responseText));
      else reject(problemOf(request.status, request.statusText, request.responseText));
    });
    request.send(file);
  });
}
