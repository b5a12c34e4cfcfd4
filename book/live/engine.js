// The page's side of the work: a worker where one starts, else the page itself, in slices.
import { serve } from "./tasks.js";

/** A scope of the page's own that answers as a worker does. */
function inPage(receive) {
  const scope = { postMessage: (data) => queueMicrotask(() => receive({ data })) };
  serve(scope);
  return { postMessage: (data) => scope.onmessage({ data }), where: "page" };
}

/** Runs tasks; `source` is the text of a script that serves in a worker. */
export class Engine {
  constructor(source) {
    this.jobs = new Map();
    this.count = 0;
    this.server = this.connect(source);
  }

  /** The worker once it says that it is ready; the page if it fails to start. */
  async connect(source) {
    const receive = (message) => this.receive(message);
    try {
      const address = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
      const worker = new Worker(address);
      await new Promise((resolve, reject) => {
        [worker.onmessage, worker.onerror] = [resolve, reject];
      });
      [worker.onmessage, worker.onerror, worker.where] = [receive, null, "worker"];
      return worker;
    } catch {
      return inPage(receive);
    }
  }

  receive({ data: { id, value, ...end } }) {
    const job = this.jobs.get(id);
    if (!job) return;
    if (value !== undefined) return job.report(value);
    this.jobs.delete(id);
    if (end.error) job.reject(new Error(end.error));
    else job.resolve(end.cancelled ? undefined : end.answer);
  }

  /** Start a task; its `promise` gives the answer, or undefined after `cancel()`. */
  run(task, args, report = () => {}) {
    const id = ++this.count;
    const promise = new Promise((resolve, reject) => {
      this.jobs.set(id, { report, resolve, reject });
    });
    const send = (message) => this.server.then((server) => server.postMessage(message));
    send({ id, task, args });
    return { promise, cancel: () => send({ cancel: id }) };
  }
}
