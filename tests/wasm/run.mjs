// Runs a WASI test program in Node: node run.mjs PROGRAM.wasm [ARGUMENT...]
// The program sees this repository, its build folder and the shared test data, under their own paths.
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setFlagsFromString } from 'node:v8';
import { WASI } from 'node:wasi';

// Node's optimized way into WASI calls keeps the memory that the program had before it grew, and crashes (nodejs/node#53087).
setFlagsFromString('--no-turbo-fast-api-calls');

const [program, ...args] = process.argv.slice(2);
const source = realpathSync(resolve(dirname(fileURLToPath(import.meta.url)), '../..'));
const data = process.env.STERNA_TESTDATA ?? resolve(source, '../shared/testdata');

const preopens = { [source]: source, [process.cwd()]: process.cwd(), '.': process.cwd() };
const env = { ...process.env, PWD: process.cwd() };
if (existsSync(data)) {
    env.STERNA_TESTDATA = realpathSync(data);
    preopens[env.STERNA_TESTDATA] = env.STERNA_TESTDATA;
} else {
    env.STERNA_TESTDATA = '/absent';
}

// Node 20 collects a WASI object during its own start() when nothing else refers to it, and dies.
const wasi = (globalThis.wasi = new WASI({ version: 'preview1', args: [program, ...args], env, preopens, returnOnExit: true }));
const module = new WebAssembly.Module(readFileSync(program));
const instance = new WebAssembly.Instance(module, wasi.getImportObject());
process.exitCode = wasi.start(instance);
