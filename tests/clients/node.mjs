// node node.mjs MODEL: node-llama-cpp as its users call it; what it found, as JSON.
import {getLlama, LlamaChatSession, LlamaCompletion} from "node-llama-cpp";

const llama = await getLlama({gpu: false, build: "never", skipDownload: true, logLevel: "error", progressLogs: false});
const model = await llama.loadModel({modelPath: process.argv[2]});
const greedy = {temperature: 0, maxTokens: 32};
const found = {
    size: model.size, trained: model.trainContextSize, bos: model.tokens.bosString, eos: model.tokens.eosString,
    tokens: model.tokenize("Once upon a time there was a fox").map(Number),
    text: model.detokenize(model.tokenize("déjà vu 🦊"))
};

const context = await model.createContext({contextSize: 512, threads: 1});
found.contextSize = context.contextSize;
const completion = new LlamaCompletion({contextSequence: context.getSequence()});
found.completion = await completion.generateCompletion("Once upon a time there was a little fox who", greedy);
const grammar = await llama.createGrammar({grammar: 'root ::= " " ("red" | "blue") " fox."'});
found.grammar = await completion.generateCompletion("Once upon a time there was a", {...greedy, grammar});
found.compatible = [" red fox.", " red", " green fox."].map((text) => grammar._testText?.(text) ?? null);
await context.dispose();

const chat = await model.createContext({contextSize: 512, threads: 1});
const session = new LlamaChatSession({contextSequence: chat.getSequence()});
found.chat = await session.prompt("Tell me a story about a fox.", greedy);
found.again = await session.prompt("And another one.", greedy);
const schema = await llama.createGrammarForJsonSchema({type: "object", properties: {age: {type: "number"}}});
found.json = schema.parse(await session.prompt("How old?", {...greedy, maxTokens: 64, grammar: schema}));
await chat.dispose();

const embedding = await model.createEmbeddingContext({contextSize: 256, threads: 1});
found.embedding = (await embedding.getEmbeddingFor("The dog ran to the park.")).vector;
await embedding.dispose();
console.log("FOUND " + JSON.stringify(found));
await model.dispose();
await llama.dispose();
