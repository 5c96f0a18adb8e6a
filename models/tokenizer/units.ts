/** A text as an array of its UTF-16 units: a string asks what kind of string it is each time a unit is read. */
import { encodeUtf8Into } from './alphabet.ts';

/** A text with its units, in memory that the next text uses again. */
export class Units {
  text = '';
  private array = new Uint16Array(256);
  private isRead = true;

  /** This, holding another text. */
  of(text: string): this {
    this.text = text;
    this.isRead = false;
    return this;
  }

  get length(): number {
    return this.text.length;
  }

  /** The units, and then what an earlier text left. */
  get values(): Uint16Array {
    if (!this.isRead) this.read();
    return this.array;
  }

  slice(from: number, to: number): string {
    return this.text.slice(from, to);
  }

  private read(): void {
    const { text } = this;
    const { length } = text;
    if (length > this.array.length) this.array = new Uint16Array(2 * length);
    this.isRead = true;
    const { array } = this;
    const bytes = encodeUtf8Into(text);
    if (bytes?.length === length)
      array.set(bytes); // ASCII
    else for (let at = 0; at < length; at++) array[at] = text.charCodeAt(at);
  }
}
