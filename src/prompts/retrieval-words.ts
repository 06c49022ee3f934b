// The words that names in a register are made of: common English ones, which most tokenizers know whole.

function wordsOf(text: string): readonly string[] {
  return text.trim().split(/\s+/);
}

/** 128 different ones. */
export const ADJECTIVES = wordsOf(`
  able ancient angry basic big bitter black blind blue bold brave brief bright broad broken brown busy calm careful cheap
  clean clear clever close cold common cool correct curious cute daily dark dear deep distant double dry
  early easy eager empty equal even every exact extra fair faint famous fast fat final fine firm first flat foreign free
  fresh full funny gentle giant glad global gold good grand gray great green happy hard heavy hidden high hollow
  honest huge hungry ideal inner iron junior just keen kind large last late lazy light little local lonely long lost loud
  low loyal lucky mad magic main major mean mild minor modern moral narrow native neat new nice noble normal odd old
  open outer pale perfect plain proud pure quick quiet
`);

/** 128 different ones, none of which is an adjective above. */
export const NOUNS = wordsOf(`
  animal apple army arrow artist baby ball bank bear bell bird boat body bone book bottle box boy branch bread bridge
  brother bus cake camera camp captain car card castle cat chair child church circle city cloud coat coffee corner
  country crowd cup dance desk doctor dog door dream driver engine eye face farmer father field finger fire fish floor
  flower forest friend garden gate ghost girl glass grass hammer hand hat heart hill horse hotel house island jacket
  judge king kitchen knife lady lake lamp leaf leg letter library lion machine map market mirror money moon morning
  mother mountain mouse mouth museum music needle night nurse ocean office orange owner page painter palace paper park
  party path pencil phone piano picture pilot planet plate player poet pocket
`);
