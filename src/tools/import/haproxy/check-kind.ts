/** What a health check of penstock's asks, as the import writes it. */
export type CheckKind = {
  readonly type: string;
  readonly port?: number;
  readonly address?: string;
  readonly tls?: unknown;
  readonly send?: string;
  readonly expect?: string | readonly string[];
  readonly method?: string;
  readonly path?: string;
  readonly host?: string;
  readonly status?: unknown;
};
