// Writes a .br and a .gz beside every text asset, so that the server never compresses while it answers.
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";

const folder = new URL("../../platform/flexai/frontend_dist/", import.meta.url).pathname;
const text = /\.(js|css|html|svg|json|txt)$/;
/** Below this a compressed copy saves nothing. */
const smallest_bytes = 512;

async function compress(path) {
  const content = await readFile(path);
  if (content.length < smallest_bytes) return;
  const brotli = await promisify(brotliCompress)(content, {
    params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: content.length },
  });
  await writeFile(`${path}.br`, brotli);
  await writeFile(`${path}.gz`, await promisify(gzip)(content, { level: 9 }));
}

const entries = await readdir(folder, { recursive: true, withFileTypes: true });
const files = entries.filter((entry) => entry.isFile() && text.test(entry.name));
await Promise.all(files.map((entry) => compress(join(entry.parentPath, entry.name))));
