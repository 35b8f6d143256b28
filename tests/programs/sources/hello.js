// Workers, compression and a child.
const { Worker, isMainThread, parentPort } = require("worker_threads");
if (isMainThread) {
  const zlib = require("zlib"), { execFileSync } = require("child_process");
  console.log(zlib.gzipSync("x".repeat(100000)).length, execFileSync("echo", ["child"]).toString().trim());
  const worker = new Worker(__filename);
  worker.on("message", (sum) => { console.log(sum); });
  worker.on("exit", () => process.exit(9));
} else {
  let sum = 0;
  for (let i = 0; i < 200000; i++) sum += JSON.stringify({ i }).length;
  parentPort.postMessage(sum);
}
