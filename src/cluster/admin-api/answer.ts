/** Answers of the Admin API: a status and a JSON body. */

export type Answer = {
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
};

/** Thrown by any step of a request: nothing was changed. */
export class Refusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export function answerOf({ status, message }: Refusal): Answer {
  return { status, body: { error_msg: message } };
}
