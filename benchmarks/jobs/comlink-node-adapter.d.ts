// Comlink's adapter for Node's workers and ports has no declarations of its own under this name.
declare module 'comlink/dist/esm/node-adapter.mjs' {
  import type { Endpoint } from 'comlink'
  export default function nodeEndpoint(port: object): Endpoint
}
