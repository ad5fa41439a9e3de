// Asked with `?check=ADDRESS`, the page looks at itself as a visitor would and writes what it saw into the document.
// A browser that prints documents does so at the load event. It waits for the picture at ADDRESS/held, which comes
// when ADDRESS/over was asked for.
const wanted = new URLSearchParams(location.search)
if (wanted.has('check')) {
  const held = document.createElement('img')
  held.src = wanted.get('check') + '/held'
  held.hidden = true
  document.body.append(held)
  check().catch(error => ({ error: String(error) })).then(outcome => {
    document.getElementById('outcome').textContent = JSON.stringify(outcome)
    return fetch(wanted.get('check') + '/over', { mode: 'no-cors' })
  })
}

async function check () {
  const header = getComputedStyle(document.querySelector('header'))
  return {
    origin: self.origin,
    style: header.borderBottomColor,
    png: await picture('png'),
    svg: await picture('svg'),
    storage: storage(),
    tour: await tour(),
    stranger: wanted.has('stranger') ? await stranger(wanted.get('stranger')) : null,
    video: await video()
  }
}

async function picture (id) {
  const image = document.getElementById(id)
  await image.decode()
  return [image.naturalWidth, image.naturalHeight]
}

function storage () {
  try {
    localStorage.setItem('visited', 'yes')
    return localStorage.getItem('visited')
  } catch (error) {
    return error.name
  }
}

// Opens the first page in a frame and clicks from page to page, until one has nowhere to go.
async function tour () {
  const seen = []
  const frame = open('pages/one.html')
  for (;;) {
    const page = await told(frame)
    seen.push([page.title, page.reaches])
    if (!page.next) break
    frame.contentWindow.postMessage('next', '*')
  }
  frame.remove()
  return seen
}

// Opens a page of other content, which must not get at this one.
async function stranger (address) {
  const frame = open(address)
  const page = await told(frame)
  frame.remove()
  return [page.origin, page.reaches]
}

function open (address) {
  const frame = document.createElement('iframe')
  frame.src = address
  frame.hidden = true
  document.body.append(frame)
  return frame
}

function told (frame) {
  return once(self, 'message', event => event.source === frame.contentWindow).then(event => event.data)
}

async function video () {
  const video = document.getElementById('video')
  if (video.readyState < 1) await once(video, 'loadedmetadata')
  video.currentTime = 40.5
  await once(video, 'seeked')
  const canvas = document.createElement('canvas')
  canvas.width = canvas.height = 1
  const context = canvas.getContext('2d')
  context.drawImage(video, 0, 0, 1, 1)
  const [red, green, blue] = context.getImageData(0, 0, 1, 1).data
  const colour = blue > 128 && red < 128 && green < 128 ? 'blue' : [red, green, blue].join()
  return { duration: Math.round(video.duration), at: video.currentTime, size: [video.videoWidth, video.videoHeight], colour }
}

function once (target, name, is = () => true) {
  return new Promise((resolve, reject) => {
    const end = setTimeout(() => reject(new Error(`no ${name} within 30 s`)), 30000)
    target.addEventListener(name, function listen (event) {
      if (!is(event)) return
      clearTimeout(end)
      target.removeEventListener(name, listen)
      resolve(event)
    })
  })
}
