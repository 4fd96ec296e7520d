"""The table of words: what prompts say, in Chinese and English, and what the service hears.

Each entry is a canonical name and its words; a word is matched inside Chinese text as it is,
and in English as a whole word (`*` at its end: as a word's beginning). Longer words win.
Names of scenes, tones, styles and adjustments are those of `edits`.
"""

from __future__ import annotations

import re

Table = tuple[tuple[str, re.Pattern[str]], ...]


def _pattern(words: str) -> re.Pattern[str]:
    alternatives = []
    for word in sorted((part.strip() for part in words.split("|")), key=len, reverse=True):
        if not word.isascii():
            alternatives.append(re.escape(word))
        elif word.endswith("*"):
            alternatives.append(rf"\b{re.escape(word[:-1])}\w*")
        else:
            alternatives.append(rf"\b{re.escape(word)}\b")
    return re.compile("|".join(alternatives))


def _table(entries: dict[str, str]) -> Table:
    return tuple((name, _pattern(words)) for name, words in entries.items())


COLOURS = _table(
    {
        "white": "白色|纯白|雪白|洁白|白的|变白|white|ivory",
        "black": "黑色|纯黑|漆黑|黑的|变黑|black",
        "grey": "灰色|银色|灰的|grey|gray|silver",
        "orange": "橙红色|橙色|橘色|橘红|橘黄|橙黄|orange",
        "red": "红色|大红|朱红|鲜红|红的|变红|red|crimson|scarlet|maroon",
        "pink": "粉红色|粉色|粉红|玫红|pink|magenta|rose",
        "yellow": "黄色|明黄|黄的|yellow",
        "gold": "金色|金黄|gold|golden",
        "green": "绿色|翠绿|草绿|绿的|变绿|green|emerald|olive",
        "cyan": "青色|蓝绿|湖蓝|cyan|teal|turquoise",
        "blue": "蓝色|天蓝|宝蓝|藏青|海军蓝|蓝的|变蓝|blue|navy",
        "purple": "紫色|紫的|变紫|purple|violet|lavender",
        "brown": "棕色|褐色|咖啡色|巧克力色|棕的|brown|chocolate|tan",
        "beige": "米色|米白|奶油色|beige|cream",
    }
)
DARK = _pattern("深|暗|dark|deep|navy|maroon|藏青|海军蓝")
LIGHT = _pattern("浅|淡|亮|light|pale|pastel")

SCENES = _table(
    {
        "sunset": "日落|落日|夕阳|黄昏|晚霞|火烧云|傍晚|sunset|dusk|sundown|evening glow",
        "beach": "海滩|沙滩|海边|海岸|beach|seaside|seashore|shore",
        "snow": "下雪|雪地|雪景|雪山|冰雪|冬天|冬季|snow*|winter",
        "starry": "星空|夜空|银河|宇宙|太空|starry|night sky|milky way|outer space|galaxy",
        "clouds": "白云|云朵|云彩|多云|云海|cloud*",
        "sky": "蓝天|天空|晴空|晴天|sky|skies",
        "forest": "森林|树林|丛林|竹林|forest|woods|woodland|jungle",
        "meadow": "草地|草原|草坪|田野|花园|公园|meadow|grass*|lawn|field|garden|park",
        "studio": "影棚|摄影棚|纯色|渐变|studio|gradient|backdrop",
    }
)
STYLES = _table(
    {
        "watercolour": "水彩|watercolor*|watercolour*|aquarelle",
        "ink": "水墨|国画|中国画|ink wash|ink painting|chinese painting|sumi*",
        "oil": "油画|印象派|莫奈|梵高|梵谷|oil paint*|oil-paint*|impressionis*|monet|van gogh",
        "pencil": "素描|铅笔|线稿|速写|炭笔|pencil|sketch*|charcoal|line drawing",
        "comic": "漫画|动漫|卡通|二次元|动画|comic*|manga|anime|cartoon*|pop art",
    }
)
TONES = _table(
    {
        "sunset": "日落|落日|夕阳|黄昏|晚霞|火烧云|傍晚|sunset|dusk|sundown",
        "night": "夜晚|夜间|夜景|深夜|夜色|黑夜|月光|星星|星空|night*|midnight|moonlit|moonlight",
        "warm": "温暖|暖色|偏暖|变暖|暖调|暖一|更暖|暖意|warm*|golden hour|cozy|cosy",
        "cool": "冷色|偏冷|变冷|冷调|冷一|更冷|清冷|cool*|cold*|icy|chilly",
        "sepia": "复古|怀旧|老照片|泛黄|vintage|retro|sepia|old photo",
    }
)
ADJUSTMENTS = _table(
    {
        "sharpen": "清晰|锐化|锐利|修复模糊|去模糊|高清|画质|sharp*|crisp*|clarity|deblur*|clearer",
        "denoise": "噪点|噪声|降噪|去噪|颗粒|noise|noisy|denois*|grain*",
        "contrast": "对比度|对比|反差|contrast",
        "saturation": "饱和|鲜艳|艳丽|色彩更丰富|saturat*|desaturat*|vivid|vibran*|colours pop"
        "|colors pop|colorful|colourful|muted",
        "brightness": "亮度|提亮|变亮|调亮|亮一|更亮|太暗|变暗|调暗|压暗|更暗|暗一|太亮|曝光"
        "|bright*|lighten*|darken*|darker|dim|dimmer|exposure",
    }
)
DOWN = _pattern(
    "降低|减少|减弱|减小|调低|变暗|调暗|压暗|更暗|暗一|太亮|柔和|淡"
    "|lower*|reduc*|decreas*|less|desaturat*|muted|darken*|darker|dim|dimmer|soften*|tone down"
)

BACKGROUND = _pattern("背景|后面|身后|background|backdrop|behind")
SKY = _pattern("天空|天上|天际|sky|skies")
SURFACE = _pattern(
    "墙|地板|地面|房间|砖|屋顶|整体|整个|画面|全图|全部|wall*|floor*|room|brick*|roof|everything"
    "|whole|entire|image|photo|picture"
)
IN_FRONT = re.compile(
    r"放在|放到|置于|来到|站在|坐在|移到|带到"
    r"|\b(put|place|set|stand|move|bring|show)\b.*\b(on|in|at|onto|into|against|by)\b"
)
BLUR = _pattern("虚化|模糊|景深|散景|blur*|bokeh|defocus*|out of focus|depth of field")
OF_DEPTH = _pattern("虚化|景深|散景|bokeh|depth of field")
TRANSPARENT = _pattern("透明|transparent|transparency|alpha")
CUT_OUT = _pattern("抠图|抠出|抠像|cut out|cutout|isolate*")
REMOVE = _pattern(
    "移除|去除|去掉|删除|删掉|清除|擦除|消除|抹掉|抹去|remov*|eras*|delet*|get rid of|clean up"
    "|declutter*"
)
TIDY = _pattern("简洁|干净|整洁|clean|tidy|uncluttered|simple")
BACKGROUND_ITSELF = re.compile(
    r"(移除|去除|去掉|删除|清除)背景(?![中里的上内])|\b(remove|erase|delete)( the)? background\b"
)
GREYSCALE = _pattern("黑白|灰度|单色|grayscale|greyscale|monochrome|b&w")
COMBINE = _pattern(
    "结合|融合|混合|综合|合并|合成|拼|blend*|combin*|merg*|mix|mixes|fuse*|fusion|collage"
)
SECOND_STYLE = re.compile(r"(风格|style|看起来|look).*(第二|另一|second|other|reference|参考)")
RECOLOUR = _pattern(
    "改成|变成|换成|改为|变为|换为|刷成|涂成|染成|漆成|设为|设成|变得|变|改|换|染|涂|刷"
    "|turn*|change*|make*|made|paint*|recolor*|recolour*|dye*|colour|color|tint*|convert*|to"
)
FIXED = _pattern(
    "不变|不要动|别动|不动|不要改|不要换|别改|不要变|保持原|don't change|do not change|unchanged"
    "|don't touch|do not touch|as it is|as is|intact"
)
NOT = re.compile(r"^(请)?(不要|别|勿)|\b(don't|do not|never|without)\b")
KEEP = _pattern("保持|保留|keep*|preserv*|leave|retain*|maintain*")
WEAK = _pattern("稍|略|一点|一些|微|轻|slight*|a bit|a little|subtle*|gentl*|mild*")
STRONG = _pattern("非常|强烈|大幅|很|极|更加|very|strong*|much|dramatic*|heavily|extreme*")
FILLER = re.compile(
    r"(请|please|谢谢|thanks?|thank you|just)?\s*"
    r"((突出|强调)(人物|主体|主题).{0,4}|(生成|创作|画)?(出)?一[张幅个](全?新的?)?.{0,6}(作品|图片|图像|照片)?"
    r"|(使用|采用|以)?.{0,6}(手法|效果)|high quality|高质量)?"
)
SPLIT = re.compile(
    r"[,。;:!?、,.;:!?\n\"“”]+|\b(?:and|then|while|but|also|plus)\b"
    r"|并且|而且|同时|然后|接着|(?<!合)并(?![排列])"
)
ONE_WORD = (
    (re.compile(r"\bblack[- ]and[- ]white\b|\bblack & white\b"), "grayscale"),
    # Where something is, not what is to be changed.
    (re.compile(r"\b(in|of|from) (the|this|that|my) (image|photo|picture)\b"), " "),
    (re.compile(r"(图片|照片|图像|画面|图)[中里上内]的?"), ""),
    # What is not wanted.
    (re.compile(r"\b(instead of|rather than)\b[^,.;]*|而(不是|非)[^,。;]*"), " "),
)


def first(table: Table, text: str) -> str | None:
    """The name in `table` whose longest word stands in `text`; None if no word does."""
    best: tuple[int, str] | None = None
    for name, pattern in table:
        for match in pattern.finditer(text):
            length = len(match.group())
            if best is None or length > best[0]:
                best = (length, name)
    return best[1] if best else None


def last(table: Table, text: str) -> str | None:
    """The name whose word stands last in `text`: "the white cat black" ends up black."""
    matches = [
        (match.end(), len(match.group()), name)
        for name, pattern in table
        for match in pattern.finditer(text)
    ]
    return max(matches)[2] if matches else None


def every(table: Table, text: str) -> tuple[str, ...]:
    """All names in `table` of which a word stands in `text`, in the table's order."""
    return tuple(name for name, pattern in table if pattern.search(text))
