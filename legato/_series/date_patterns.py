"""Patterns of dates, times of day and durations, by which they are not taken for labels.

Nothing is read by them: what is read as a time is in ``time_formats``. Years are those of 1800 to
2199 where a pattern would otherwise fit numbers of articles, scores and the like.
"""

_MONTHS = "|".join(  # English, German, French, Spanish, Italian, Portuguese, and others
    "jan january januar janv janvier janeiro ene enero gen gennaio feb february februar fev "
    "févr février fevereiro febrero febbraio mar march mär märz mars marzo março apr april avr "
    "avril abr abril aprile may mai mayo mag maggio maio jun june juni juin junio giu giugno "
    "junho jul july juli juil juillet julio lug luglio julho aug august août aout ago agosto "
    "sep sept september septembre septiembre set settembre setembro oct october okt oktober "
    "octobre octubre ott ottobre out outubro nov november novembre noviembre novembro dec "
    "december dez dezember déc décembre dic diciembre dicembre dezembro "
    "januari februari maart mrt mei augustus maj augusti marts desember "
    "stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada "
    "grudnia ledna února března dubna května června července srpna září října listopadu prosince "
    "ocak şubat mart nisan mayıs haziran temmuz ağustos eylül ekim kasım aralık "
    "января февраля марта апреля мая июня июля августа сентября октября ноября декабря "
    "янв фев мар апр май июн июл авг сен сент окт ноя дек".split()
)
_YEAR = r"(?:1[89]|2[01])\d\d"
_ANY_YEAR = r"(?:\d{4}|\d{2})"
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"  # or a month
_NTH = r"\d{1,2}(?:st|nd|rd|th|er|[.ºª°])?"
DATES = (
    r"^[\[(\"']?(?i:(?:\p{L}{2,10}\.?,? ){0,2}(?:"  # a day of the week may be before it
    rf"\d{{4}}[-/]{_DAY}[-/]{_DAY}|{_YEAR}[-/]\d{{1,2}}|{_YEAR}\.{_DAY}\.{_DAY}|"
    rf"{_DAY}-{_DAY}-{_ANY_YEAR}|{_DAY}/{_DAY}/{_ANY_YEAR}|{_DAY}\.{_DAY}\.{_ANY_YEAR}|"
    rf"\d\d\.\d\d\.|(?:0?[1-9]|1[0-2])[-/]{_YEAR}|{_YEAR}:\d{{1,2}}(?::\d{{1,2}})?|"
    rf"{_YEAR}-[0-3]\d\d|{_YEAR}[01]\d[0-3]\d[T_ -]\d\d:?\d\d(?::?\d\d)?|"
    rf"\d{{4}}-?W\d{{2}}(?:-?\d)?|(?:W|KW|CW|wk|week) ?\d{{1,2}}[-/, ]+{_YEAR}|"
    rf"\d{{4}}[- ]?Q[1-4]|Q[1-4][- /']*\d{{4}}|Q[1-4][- /']+\d{{2}}|[1-4]Q[- ']?{_ANY_YEAR}|"
    rf"{_YEAR}[- ]?[HST][1-4]|[HST][1-4][- /]{_YEAR}|{_YEAR}-?(?-i:M)\d{{1,2}}|"
    rf"{_NTH}[-/ ]?(?:de |of )?(?:{_MONTHS})\.?[-/, ']*(?:de )?{_ANY_YEAR}|"
    rf"{_NTH} (?:de |of )?(?:{_MONTHS})\.?|"
    rf"{_YEAR}[-/ ]?(?:{_MONTHS})\.?(?:[-/ ]\d{{1,2}})?|"
    rf"(?:{_MONTHS})\.?[-/ ](?:{_NTH},? )?(?:\d{{4}}|'?\d{{2}})|(?:{_MONTHS})\.? {_NTH}|"
    rf"{_YEAR} ?[年년] ?\d{{1,2}} ?[月월](?: ?\d{{1,2}} ?[日일])?|/Date\(-?\d+"
    r")(?:,?[T ].*|Z|[-,_:/(–+]+ ?\(?\d.*|\).*)?)[\])\"']?$"
)
CLOCKS = (
    r"^(?i:[-+]?(?:T[-+]?)?(?:\d+ ?d(?:ays?)?,? )?\d{1,3}:\d{2}(?::\d{2}(?:[.,]\d+)?)?"
    r"(?: ?(?:[ap]\.?m\.?|Uhr|h|Z|UTC|GMT|\+\d{2}:?\d{2}))?|\d\d:\d\d:[\d.]+-\d\d:?\d\d|"
    r"\d+[-:]\d{1,2}:\d{2}:\d{2}(?:[.,]\d+)?|\d{1,2} ?[ap]\.?m\.?|"
    r"P(?:\d+[YMWD])+(?:T[\d.]+[HMS].*)?|PT[\d.]+[HMS].*|"
    r"(?:\d+ ?d(?:ays?)?,? ?)?\d+ ?h(?:ours?|rs?)? ?\d+ ?(?:m(?:in(?:ute)?s?)?)?"
    r"(?: ?\d+ ?s(?:ec(?:ond)?s?)?)?|"
    r"\d+ ?m(?:in(?:ute)?s?)? ?\d+ ?s(?:ec(?:ond)?s?)?)$"
)
