// The page's side of the work: a kernel that offers it, or a worker, or the page itself, in slices.
import { decodeBase64 } from "./safetensors.js";
import { serve } from "./tasks.js";

/** A scope of the page's own that answers as a worker does. */
function inPage(receive) {
  const scope = { postMessage: (data) => queueMicrotask(() => receive({ data })) };
  serve(scope);
  return { postMessage: (data) => scope.onmessage({ data }) };
}

/** The kernel of a model, which answers as a worker does; the messages are JSON. */
function inKernel(model, receive) {
  model.on("msg:custom", (data) => receive({ data }));
  return { postMessage: (data) => model.send(data) };
}

/** Runs tasks; `source` is the text of a script that serves in a worker, `base` its folder. Without
 * them the kernel of a model that `computes` does, or the page. */
export class Engine {
  constructor({ source, base, model }) {
    [this.base, this.jobs, this.loaded, this.count] = [base, new Map(), new Map(), 0];
    this.server = this.connect(source, model);
  }

  /** The worker once it says that it is ready; the page if it fails to start. */
  async connect(source, model) {
    const receive = (message) => this.receive(message);
    if (!source) return model.get("computes") ? inKernel(model, receive) : inPage(receive);
    try {
      const worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
      await new Promise((resolve, reject) => {
        [worker.onmessage, worker.onerror] = [resolve, reject];
      });
      [worker.onmessage, worker.onerror] = [receive, null];
      return worker;
    } catch {
      return inPage(receive);
    }
  }

  receive({ data: { id, value, ...end } }) {
    const job = this.jobs.get(id);
    if (!job) return;
    try {
      if (value !== undefined) return job.report(value);
    } catch (error) {
      end.error = error.message;
    }
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

  /** Load a network once: a script hands over its weights. A kernel has its own. */
  load(file) {
    if (!this.base) return null;
    if (!this.loaded.has(file)) this.loaded.set(file, this.fetch(file));
    return this.loaded.get(file);
  }

  async fetch(file) {
    const script = document.createElement("script");
    script.src = `${this.base}weights/${file}.js`;
    await new Promise((resolve, reject) => {
      script.onload = resolve;
      script.onerror = () => reject(new Error(`${script.src} is not there: build the book again`));
      document.head.append(script);
    });
    const { config, base64 } = globalThis.dashWeights[file];
    delete globalThis.dashWeights[file];
    return this.run("load", { name: file, config, bytes: decodeBase64(base64) }).promise;
  }
}
