export interface Snippet {
  readonly line: number;
  readonly code: string;
}
export declare function snippetsOf(markdown: string): Snippet[];
export declare function toModule(code: string): string;
export declare function toCommonJs(code: string): string;
export declare function environmentOf(code: string): Promise<Record<string, string>>;
