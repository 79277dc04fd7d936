import { describe, expect, it } from "vitest";
import { EngineError } from "../../src/errors.ts";
import { count, described, flag, isRecord, nearest, oneOf, readOptions, signal, text } from "../../src/options.ts";

const shape = { images: text, maxTokens: count, signal, json: flag, weights: oneOf("q8", "q4") };
const failure = (value: unknown): string => {
  try {
    return `accepted ${JSON.stringify(readOptions("chat", value, shape))}`;
  } catch (error) {
    expect(error).toBeInstanceOf(EngineError);
    return (error as EngineError).message;
  }
};

describe("options", () => {
  it("reads what it knows, and takes null for absent", () => {
    expect(readOptions("chat", { images: "a", maxTokens: 3, json: null, weights: undefined }, shape)).toEqual({
      images: "a",
      maxTokens: 3,
    });
    expect(readOptions("chat", undefined, shape)).toEqual({});
    expect(readOptions("chat", null, shape)).toEqual({});
  });

  it.each([
    [{ image: "a" }, 'chat has no option "image"; did you mean "images"?'],
    [{ max_tokens: 5 }, 'chat has no option "max_tokens"; did you mean "maxTokens"?'],
    [{ max_completion_tokens: 5 }, 'chat has no option "max_completion_tokens"; did you mean "maxTokens"?'],
    [{ dtype: "q4" }, 'chat has no option "dtype"; did you mean "weights"?'],
    [{ nothingLikeIt: 1 }, 'chat has no option "nothingLikeIt"'],
    [{ maxTokens: "5" }, 'maxTokens is "5", needs a positive integer'],
    [{ signal: {} }, "signal is an object without keys, needs an AbortSignal"],
    [{ weights: "q5" }, 'weights is "q5", needs one of q8, q4'],
    ["a.png", 'what chat was given as options is "a.png", needs an object of options'],
    [new Uint8Array(3), "what chat was given as options is a Uint8Array, needs an object of options"],
    [new ArrayBuffer(3), "what chat was given as options is an ArrayBuffer, needs an object of options"],
    [new URL("https://a.b"), "what chat was given as options is a URL, needs an object of options"],
    [[1], "what chat was given as options is a list of 1, needs an object of options"],
  ])("refuses %j", (value, message) => expect(failure(value)).toBe(message));

  it("survives objects that throw when they are read", () => {
    const trap = new Proxy({}, { ownKeys: () => [].at(0)! as string[] });
    expect(failure(trap)).toMatch(/cannot be read/);
    const thrower = {
      get images() {
        throw new RangeError("mine");
      },
    };
    expect(failure(thrower)).toBe('the options of chat cannot be read: "mine"');
  });

  it("says what a value is without showing all of it", () => {
    expect(described("x".repeat(1e6)).length).toBeLessThan(100);
    expect(described({ ["k".repeat(1e5)]: 1 }).length).toBeLessThan(100);
    expect(described([])).toBe("an empty list");
    expect(described(Symbol("a"))).toBe("a symbol");
    expect(described(5n)).toBe("5n");
  });

  it("tells options from things with a meaning of their own", () => {
    class Mine {
      a = 1;
    }
    for (const value of [{}, Object.create(null), new Mine()]) expect(isRecord(value)).toBe(true);
    for (const value of [[], new Date(), new Map(), new Blob(), () => {}, "a", null, Promise.resolve()])
      expect(isRecord(value)).toBe(false);
  });

  it("finds the nearest name, and none where none is near", () => {
    expect(nearest("temprature", ["temperature", "topP"])).toBe("temperature");
    expect(nearest("zzz", ["temperature", "topP"])).toBeUndefined();
  });
});
