/** Events that came to the log without us: they are held to what a publish is held to. */
import { checkEventType, type NewEvent } from '../core/event.js';
import { HoldlineError } from '../errors.js';
import { checkChannelName } from '../http/request.js';
import { checkSize } from './event-size.js';
import { scanJson } from './json.js';
import { checkUtf8 } from './publish.js';

/** Throws the HoldlineError with which a publish of the event would be refused. */
export function checkForeign(event: NewEvent, maxEventBytes: number): void {
  const { channel, type, data, json } = event;
  checkChannelName(channel);
  if (type !== undefined) checkEventType(type);
  checkUtf8(data, 'data');
  const fault = json ? scanJson(data, 0, data.length) : undefined;
  if (fault !== undefined)
    throw new HoldlineError('HOLDLINE_BAD_JSON', `the data is not JSON: ${fault.message}`);
  checkSize(event, maxEventBytes);
}
