/** Plain HTTP requests with whatever headers a test needs. */
import { request } from 'node:http';

export type HttpAnswer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
};

export type HttpRequest = {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
};

/** Asks at `host:port` of a loopback address, or at `unix:/path`. Rejects if there is no answer. */
export function http(
  address: string,
  path: string,
  { method, headers, body }: HttpRequest = {},
): Promise<HttpAnswer> {
  const [, host, port] = /^(.*):(\d+)$/.exec(address) ?? [];
  const where = address.startsWith('unix:')
    ? { socketPath: address.slice(5) }
    : { host: host?.replace(/^\[(.*)\]$/, '$1'), port };
  return new Promise((resolve, reject) => {
    const asked = request({ ...where, path, method, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('error', reject);
      response.once('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          body: Buffer.concat(chunks).toString(),
        }),
      );
    });
    asked.once('error', reject);
    asked.end(body);
  });
}
