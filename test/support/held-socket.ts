/** Sockets that are bound here and accepted from by others, as a service manager has them. */
import * as net from 'node:net';
import type { TestContext } from 'node:test';

/** A handle of Node's own, which is all there is before net.BoundSocket (Node 26.4, and 24.19). */
type Handle = {
  readonly fd: number;
  readonly bind: (where: string, port?: number) => number;
  readonly getsockname?: (into: { port?: number }) => number;
  readonly close: () => void;
};

/** Bound to a path or a port of 127.0.0.1, by default a free one. It is closed after the test. */
export function heldSocket(
  t: Pick<TestContext, 'after'>,
  { path, port = 0 }: { readonly path?: string; readonly port?: number } = {},
): { fd: number; port: number } {
  if ('BoundSocket' in net && (path === undefined || takesPaths)) {
    const where: object = path === undefined ? { port, host: '127.0.0.1' } : { path };
    const socket = new net.BoundSocket(where);
    t.after(() => socket.close());
    return { fd: socket.fd(), port: (socket.address() as net.AddressInfo).port };
  }
  const handle = handleFor(path === undefined ? 'TCP' : 'Pipe');
  const failed = path === undefined ? handle.bind('127.0.0.1', port) : handle.bind(path);
  if (failed !== 0) throw new Error(`bind: ${failed}`);
  t.after(() => handle.close());
  const address: { port?: number } = {};
  if (path === undefined) handle.getsockname?.(address);
  return { fd: handle.fd, port: address.port ?? 0 };
}

/** That of Node 24 passes over the path, and binds a port. */
const takesPaths = Number(process.versions.node.split('.')[0]) >= 26;

function handleFor(kind: 'TCP' | 'Pipe'): Handle {
  const { binding } = process as unknown as {
    binding(name: string): Record<string, unknown> & { constants: { SERVER: number } };
  };
  const wrap = binding.call(process, kind === 'TCP' ? 'tcp_wrap' : 'pipe_wrap');
  const Wrap = wrap[kind] as new (type: number) => Handle;
  return new Wrap(wrap.constants.SERVER);
}
