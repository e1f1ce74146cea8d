// sharp's part of images.py: reads a job from standard input, writes the first result of each input to its file, and reports the
// CPU seconds a picture of this process.
const fs = require('fs');
const sharp = require('sharp');

const job = JSON.parse(fs.readFileSync(0, 'utf8'));
sharp.concurrency(1);
sharp.cache(false);
const inputs = job.inputs.map(([path, width, height, out]) => ({ data: fs.readFileSync(path), width, height, out }));
const encode = {
  jpeg: (s) => s.jpeg({ quality: 80, optimiseCoding: false }),
  webp: (s) => s.webp({ quality: 80, effort: 4 }),
  png: (s) => s.png({ compressionLevel: 6 }),
}[job.kind];

async function one(index) {
  const input = inputs[index % inputs.length];
  const result = await encode(sharp(input.data).resize(input.width, input.height, { fit: 'fill' })).toBuffer();
  if (index < inputs.length) fs.writeFileSync(input.out, result);
}

async function main() {
  let next = 0;
  const before = process.cpuUsage();
  const worker = async () => {
    while (next < job.count) await one(next++);
  };
  await Promise.all(Array.from({ length: 2 * job.cores }, worker));
  const used = process.cpuUsage(before);
  const seconds = (used.user + used.system) / 1e6 / job.count;
  console.log(JSON.stringify({ seconds, version: `${sharp.versions.sharp} with libvips ${sharp.versions.vips}` }));
}

main();
