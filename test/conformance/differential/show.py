"""How values and exceptions look in a trace."""


def show(value, labels):
    """ints, None, True, False and words as they are; lists in brackets; futures by label."""
    if value is None or isinstance(value, (int, str)):
        return str(value)
    if isinstance(value, (list, tuple)):
        return '[' + ' '.join(show(item, labels) for item in value) + ']'
    if isinstance(value, BaseException):
        return show_error(value)
    return labels.get(id(value), '*')


def show_error(error):
    """Type(message); groups list their members; text between < and > is left out."""
    if error is None:
        return 'None'
    name = type(error).__name__
    if isinstance(error, BaseExceptionGroup):
        return f'{name}({" ".join(show_error(e) for e in error.exceptions)})'
    return f'{name}({_without_reprs(str(error))})'


def _without_reprs(text):
    """Drops every balanced <...>: an address or a repr(), which differ by run."""
    if '<' not in text:
        return text
    kept, depth = [], 0
    for character in text:
        if character == '<':
            depth += 1
        elif character == '>' and depth:
            depth -= 1
        elif not depth:
            kept.append(character)
    return ''.join(kept)
